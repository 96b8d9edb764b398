/** What a program leaves nothing of, however it ends but by SIGKILL: folders for temporary files, and tools that run. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";

/** The signals that a terminal, an init system or timeout(1) ends a program with, and their numbers (signal(7)). */
export const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };

const pending = new Set();

process.on("exit", () => {
  for (const cleanUp of [...pending].reverse()) cleanUp();
});

/** Calls `action` and resolves with its result; `cleanUp` is called after it, or when the program ends before. */
export async function withCleanup(cleanUp, action) {
  pending.add(cleanUp);
  try {
    return await action();
  } finally {
    pending.delete(cleanUp);
    cleanUp();
  }
}

/** Calls `action` with a new folder, whose name begins with `prefix`. */
export function inTemporaryFolder(prefix, action) {
  const folder = mkdtempSync(path.resolve(tmpdir(), prefix));
  // A tool that was just killed may still write.
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  return withCleanup(remove, () => action(folder));
}

/** Makes those signals exit the program, which cleans up, with the status that shells use. For main files. */
export function exitOnSignals() {
  for (const [signal, number] of Object.entries(SIGNALS)) {
    process.once(signal, () => process.exit(128 + number));
  }
}
