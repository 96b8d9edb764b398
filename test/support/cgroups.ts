/** Control groups (cgroups(7)) that a test's programs made for themselves: found again by their name, and removed. */

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";

const ROOT = "/sys/fs/cgroup";

/** Kills what runs in the groups of this name, in every hierarchy, and removes them with those inside. */
export function removeCgroups(name: string): void {
  for (const hierarchy of ["", ...readdirSync(ROOT)]) removeCgroup(join(ROOT, hierarchy, name));
}

function removeCgroup(path: string): void {
  if (!existsSync(join(path, "cgroup.procs"))) return;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroup(join(path, entry.name));
  }
  for (let attempt = 0; attempt < 50; attempt++) {
    const pids = readFileSync(join(path, "cgroup.procs"), "utf8").split("\n").filter(Boolean);
    if (pids.length === 0) break;
    spawnSync("kill", ["-KILL", ...pids]);
    spawnSync("sleep", ["0.05"]);
  }
  rmdirSync(path);
}
