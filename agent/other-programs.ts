/** Finds other programs of this network namespace by their name (proc(5)). Reads only. */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Process id of a program called `name` in the caller's network namespace, null when none is seen. */
export function findProgram(name: string): number | null {
  const own = readlinkSync("/proc/self/ns/net");
  for (const entry of readdirSync("/proc")) {
    const pid = Number(entry);
    if (Number.isInteger(pid) && isCalled(pid, name) && readLink(`/proc/${pid}/ns/net`) === own) return pid;
  }
  return null;
}

function isCalled(pid: number, name: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim() === name;
  } catch {
    return false; // it ended while we looked
  }
}

function readLink(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null; // it ended, or belongs to another user
  }
}
