/** Runs a tool of the build machine, most of which come with Debian. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { withCleanup } from "../cleanup.mjs";

/** Packages of Debian that have them. */
const PACKAGES = {
  "apt-get": "apt",
  "dpkg-deb": "dpkg",
  "libdeflate-gzip": "libdeflate-tools",
  rpmbuild: "rpm",
  rpm: "rpm",
};

/** Throws with all packages to install, before long work ends at the first. */
export function requireTools(commands) {
  const folders = (process.env.PATH ?? "").split(path.delimiter);
  const missing = commands.filter((command) =>
    folders.every((folder) => !existsSync(path.join(folder, command))),
  );
  if (missing.length === 0) return;
  const names = missing.map((command) => PACKAGES[command] ?? command);
  throw new Error(`${missing.join(", ")}: missing; install Debian's ${[...new Set(names)].join(", ")}`);
}

/**
 * Resolves with its standard output; `options` as of spawn. Rejects with its words, or with the package to install. The
 * tool ends with this program.
 */
export async function runTool(command, args, options = {}) {
  // In a process group of its own, which ends with all that the tool has started.
  const streams = { stdio: ["ignore", "pipe", "pipe"], detached: true };
  const child = spawn(command, args, { ...options, ...streams });
  const [[status, signal], stdout, stderr] = await withCleanup(
    () => endGroup(child),
    () => Promise.all([once(child, "close"), text(child.stdout), text(child.stderr)]),
  ).catch((error) => {
    throw new Error(wordsFor(command, error));
  });
  if (status !== 0)
    throw new Error(`${command} failed (${signal ?? `exit code ${status}`}): ${stderr || stdout}`.trimEnd());
  return stdout;
}

function endGroup({ pid, exitCode, signalCode }) {
  if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, "SIGKILL");
}

function wordsFor(command, error) {
  if (error.code === "ENOENT")
    return `${command} is missing: install Debian's package ${PACKAGES[command] ?? command}`;
  return `${command}: ${error.message}`;
}
