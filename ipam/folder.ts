/** Folders for files that must be somewhere. Knows nothing of what is kept there. */

import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Creates a folder and its parents where they are missing, with `mode`. Throws what the file system throws.
 *
 * Node's own recursive way tries for ever where an existing folder answers ENOENT to a new name, as /proc does, and
 * says "not found" of a read-only file system.
 */
export function makeFolder(folder: string, mode: number): void {
  try {
    mkdirSync(folder, { mode });
  } catch (error) {
    if (isFolder(folder)) return;
    const parent = dirname(folder);
    if (!isAbsence(error) || isFolder(parent)) throw error;
    makeFolder(parent, mode);
    makeFolder(folder, mode);
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function isAbsence(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
