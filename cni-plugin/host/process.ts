/** What the plugins' programs do with their process: read, write, and compare namespaces. */

import { readFileSync, statSync, writeSync } from "node:fs";

/** All of standard input as text. */
export function readStdin(): string {
  return readFileSync(0, "utf8");
}

/** Writes all of `text`, past Node's streams, whose making costs every call milliseconds. */
export function writeFully(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
}

/** Writes to standard error for people. A log on a full disk, or a terminal that is gone, must not stop the work. */
export function tell(text: string): void {
  try {
    writeFully(2, text);
  } catch {
    // Standard error was the last output that could report it.
  }
}

/**
 * True when the path is the network namespace that this process runs in. Namespaces are files of nsfs: the same device
 * and inode mean the same namespace (namespaces(7)).
 */
export function isOwnNetns(path: string): boolean {
  const other = statSync(path, { throwIfNoEntry: false });
  const own = statSync("/proc/self/ns/net");
  return other?.ino === own.ino && other.dev === own.dev;
}
