/** Runs a tool of the build machine, most of which come with Debian. */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import process from "node:process";

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

/** Returns its standard output; `options` as of spawnSync. Throws with its words, or with the package to install. */
export function runTool(command, args, options = {}) {
  const { status, signal, stdout, stderr, error } = spawnSync(command, args, {
    encoding: "utf8",
    maxBuffer: 1 << 26,
    ...options,
  });
  if (error?.code === "ENOENT")
    throw new Error(`${command} is missing: install Debian's package ${PACKAGES[command] ?? command}`);
  if (error !== undefined) throw new Error(`${command}: ${error.message}`);
  if (status !== 0)
    throw new Error(`${command} failed (${signal ?? `exit code ${status}`}): ${stderr || stdout}`.trimEnd());
  return stdout;
}
