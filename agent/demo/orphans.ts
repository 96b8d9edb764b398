/** Removes what labs of the same kind left whose process was killed before it could remove it. */

import { execFileSync } from "node:child_process";
import { existsSync, lstatSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Looks for namespaces and directories named `<kind>-<pid>-…` without a process of that id. */
export function removeOrphans(kind: string): void {
  const isOrphan = (name: string): boolean => {
    const pid = name.startsWith(`${kind}-`) ? /^\d+(?=-)/.exec(name.slice(kind.length + 1))?.[0] : undefined;
    return pid !== undefined && !existsSync(`/proc/${pid}`);
  };
  const listing = execFileSync("ip", ["netns"], { encoding: "utf8" });
  const namespaces = listing.split("\n").map((line) => line.split(" ")[0] ?? "");
  // Their daemons are gone already: the kernel ended them together with the process.
  for (const name of namespaces.filter(isOrphan)) execFileSync("ip", ["netns", "delete", name]);
  const directories = readdirSync(tmpdir()).filter(isOrphan);
  for (const path of directories.map((name) => join(tmpdir(), name))) {
    if (isOurs(path)) rmSync(path, { recursive: true, force: true });
  }
}

/** The directory of temporary files is everybody's. */
function isOurs(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.uid === process.geteuid?.();
}
