/** Runs a tool of the build machine, most of which come with Debian. */

import { spawnSync } from "node:child_process";

/** Packages of Debian that have them. */
const PACKAGES = {
  "apt-get": "apt",
  "dpkg-deb": "dpkg",
  "libdeflate-gzip": "libdeflate-tools",
  rpmbuild: "rpm",
  rpm: "rpm",
};

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
