/** Makes folders, and finds and removes what is in them. */

import { lstatSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { hasCode } from "../errors.ts";
import { misplaced } from "./file-kind.ts";

/**
 * Creates a folder and its parents where they are missing, with `mode`. Throws what the file system throws.
 *
 * mkdir's option `recursive` loops forever where an existing folder answers ENOENT to a new name, as /proc does, and
 * reports "not found" for a read-only file system.
 */
export function makeFolder(folder: string, mode: number): void {
  try {
    mkdirSync(folder, { mode });
  } catch (error) {
    if (isFolder(folder)) return;
    const parent = dirname(folder);
    if (!hasCode(error, "ENOENT") || isFolder(parent)) throw error;
    makeFolder(parent, mode);
    makeFolder(folder, mode);
  }
}

/** Removes a file; absence is a success, also on a read-only file system, which refuses before it looks. */
export function removeIfPresent(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) rmSync(path, { force: true });
}

/** Removes the socket of a server that ended, or a file in its place. Throws ConflictError for anything else. */
export function removeSocket(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket() && !found.isFile()) throw misplaced(path, found, "a socket");
  rmSync(path, { force: true });
}

/** Removes the files of a folder whose names begin with `prefix`. */
export function removeBeginningWith(prefix: string): void {
  for (const path of pathsBeginningWith(prefix)) removeIfPresent(path);
}

export function pathsBeginningWith(prefix: string): readonly string[] {
  const folder = dirname(prefix);
  try {
    const names = readdirSync(folder).filter((name) => name.startsWith(basename(prefix)));
    return names.map((name) => join(folder, name));
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
