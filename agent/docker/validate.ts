/** Has dockerd itself check the options and the configuration file that it will get, before they are written. */

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { ConflictError } from "../../ipam/errors.ts";
import { writeNewFile } from "../../ipam/files/write.ts";

export interface DockerdStart {
  /** As the service starts it. */
  readonly program: string;
  readonly arguments: readonly string[];
  /** daemon.json's text. */
  readonly config: string;
}

const TIMEOUT_MS = 10_000;

/**
 * Runs `dockerd --validate`, which starts nothing and which Docker has since version 23. Without such a program, or
 * with an older one, nothing is checked. Throws ConflictError with dockerd's words.
 */
export async function validate({ program, arguments: given, config }: DockerdStart): Promise<void> {
  if (!/^dockerd([-.].*)?$/.test(basename(program))) return;
  const folder = mkdtempSync(join(tmpdir(), "tulle-docker-"));
  try {
    const file = join(folder, "daemon.json");
    await writeNewFile(file, config.trim() === "" ? "{}\n" : config, { mode: 0o600 });
    const args = [...given, `--config-file=${file}`, "--validate"];
    await promisify(execFile)(program, args, { timeout: TIMEOUT_MS });
  } catch (error) {
    const { code, stderr = "" } = error as { readonly code?: unknown; readonly stderr?: string };
    const isOlder = stderr.includes("unknown flag: --validate");
    if (isOlder || code === "ENOENT" || code === "EACCES") return;
    const words = stderr.trim().split("\n").at(-1) || "no answer in time";
    throw new ConflictError(`dockerd refuses what would be written, and nothing was written: ${words}`, {
      cause: error,
      details: { program },
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
