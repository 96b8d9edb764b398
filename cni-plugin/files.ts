/** Files that survive a crash at any moment: whole or absent. What they hold is the callers' business. */

import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";

/** Writes `text` to `temporary`, syncs it and renames it to `file`, in one folder; then syncs the folder. */
export function writeAtomically(file: string, temporary: string, text: string, mode: number): void {
  try {
    writeSynced(temporary, text, mode);
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncFolder(path.dirname(file));
}

/** Writes a file and waits until its bytes are on the disk. */
export function writeSynced(file: string, text: string, mode: number): void {
  const fd = openSync(file, "w", mode);
  try {
    writeFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Waits until the folder's names are on the disk (fsync(2) of a file does not do that). */
export function syncFolder(dir: string): void {
  const fd = openSync(dir, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Removes a file; absence is a success, also on a read-only file system, which refuses before it looks. */
export function removeIfPresent(file: string): void {
  if (existsSync(file)) rmSync(file, { force: true });
}

/** The file's text, or null when there is none. */
export function readIfPresent(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return null;
    throw error;
  }
}

/** True for an error of the file system with this errno's name. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
