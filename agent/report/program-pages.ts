/**
 * Gives back the pages of program files that only the start needed. They stay in the page cache, which the kernel takes
 * from when memory is short, but count no more as memory of the daemon; what it touches again is mapped again.
 */

import { readFileSync } from "node:fs";
import { madvise } from "../../backends/netlink/libc.ts";
import { hasCode } from "../../ipam/errors.ts";
import type { Mapping } from "./single-pages.ts";

/** asm-generic/mman-common.h. Of a private mapping of a file it drops what the file still has (madvise(2)). */
const MADV_DONTNEED = 4;

/** proc_pid_smaps(5): addresses, rights, offset, device, inode, file. */
const MAPPING = /^([\da-f]+)-([\da-f]+) (r-[-x]p) \S+ \S+ [1-9]\d* +\//;
const OWN_PAGES = /^Anonymous: +(\d+) kB$/;

export function releaseProgramPages(): void {
  // What the kernel refuses stays where it is.
  for (const { start, bytes } of programMappings()) madvise(start, bytes, MADV_DONTNEED);
}

/** Where this program's files are mapped as they are. */
export function programMappings(): readonly Mapping[] {
  return untouchedMappings(ownMappings());
}

/** Empty on a kernel without CONFIG_PROC_PAGE_MONITOR. */
function ownMappings(): string {
  try {
    return readFileSync("/proc/self/smaps", "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return "";
    throw error;
  }
}

/**
 * Mappings of files that cannot be written to and of which no page has been: tables that the dynamic linker has relocated
 * are read-only too, but differ from the file.
 */
export function untouchedMappings(smaps: string): readonly Mapping[] {
  const found: Mapping[] = [];
  let current: Mapping | null = null;
  for (const line of smaps.split("\n")) {
    const [, start, end] = MAPPING.exec(line) ?? [];
    if (start !== undefined && end !== undefined) current = mappingOf(start, end);
    else if (current !== null && OWN_PAGES.exec(line)?.[1] === "0") found.push(current);
    else if (isHead(line)) current = null;
  }
  return found;
}

function mappingOf(start: string, end: string): Mapping {
  const first = Number.parseInt(start, 16);
  return { start: first, bytes: Number.parseInt(end, 16) - first };
}

function isHead(line: string): boolean {
  return /^[\da-f]+-/.test(line);
}
