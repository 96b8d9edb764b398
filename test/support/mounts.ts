/** Mounts that a test's programs made for themselves: found again by their place, and removed. */

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** Unmounts everything below a folder, the last mount first, also busy ones (umount2(2), MNT_DETACH). */
export function unmountBelow(folder: string): void {
  const places = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .flatMap((line) => line.split(" ")[1] ?? []);
  for (const place of places.filter((path) => path.startsWith(`${folder}/`)).reverse()) {
    spawnSync("umount", ["--lazy", place]);
  }
}
