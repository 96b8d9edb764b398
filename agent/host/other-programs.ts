/** Finds programs by their name or by a socket that they hold (proc(5)). Reads only. */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Process id of a program called `name` in the caller's network namespace, null when none is seen. */
export function findProgram(name: string): number | null {
  const own = readLink("/proc/self/ns/net");
  if (own === null) return null;
  for (const pid of programs()) {
    if (nameOf(pid) === name && readLink(`/proc/${pid}/ns/net`) === own) return Number(pid);
  }
  return null;
}

/** `name (process 123)` for the program that holds the socket with this inode; null for the kernel's own. */
export function holderOfSocket(inode: number): string | null {
  const wanted = `socket:[${inode}]`;
  for (const pid of programs()) {
    if (descriptorsOf(pid).some((descriptor) => readLink(descriptor) === wanted)) {
      return `${nameOf(pid) ?? "a program"} (process ${pid})`;
    }
  }
  return null;
}

function programs(): readonly string[] {
  return namesIn("/proc").filter((entry) => /^\d+$/.test(entry));
}

function descriptorsOf(pid: string): readonly string[] {
  return namesIn(`/proc/${pid}/fd`).map((descriptor) => `/proc/${pid}/fd/${descriptor}`);
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // the program ended or belongs to another user, or no descriptor is free
  }
}

function nameOf(pid: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return null; // it ended while we looked
  }
}

function readLink(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null; // it ended, or belongs to another user
  }
}
