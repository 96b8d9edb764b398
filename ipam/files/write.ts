/** Writes whole files, whatever their content, and opens lock files. */

import {
  closeSync,
  constants,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { hasCode } from "../errors.ts";
import { Draft, type FileForm, randomName, removeAbandoned, temporaryPrefix } from "./draft.ts";
import { requireRegular, requireRegularOrAbsent } from "./file-kind.ts";
import { type BackgroundSync, openFolder, syncAndClose, synced, syncFolder } from "./sync.ts";

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = constants;

/**
 * Replaces a file so that a reader, or a power cut, meets the old text or the new one. Leaves nothing beside it when
 * it fails. Throws ConflictError when something other than a regular file is in its place, and what the file system
 * throws.
 */
export async function replaceFile(path: string, text: string, form: FileForm): Promise<void> {
  requireRegularOrAbsent(path);
  removeAbandoned(path);
  const draft = Draft.write(temporaryPrefix(path), text, form);
  try {
    await synced(draft.fd);
    draft.replace(path);
  } finally {
    draft.discard();
  }
  await syncFolder(dirname(path));
}

/** How a synchronous writer brings a file to the disk. */
export interface Durability {
  /** False: a power cut may bring the old text back. */
  readonly isDurable: boolean;
  /** The file is on the disk once this has finished, and not when the writer returns. */
  readonly sync?: BackgroundSync;
}

/** The same while the caller waits. A process that is killed leaves a file whose path begins with `prefix`. */
export function replaceFileSync(
  path: string,
  text: string,
  form: FileForm,
  { prefix = temporaryPrefix(path), ...durability }: Durability & { readonly prefix?: string },
): void {
  requireRegularOrAbsent(path);
  const draft = Draft.write(prefix, text, form);
  try {
    placeDurably(draft, path, durability, () => draft.replace(path));
  } finally {
    draft.discard();
  }
}

/** Writes a whole new file; false when the name is taken. A process that is killed leaves a file like `prefix`. */
export function createFileSync(
  path: string,
  text: string,
  form: FileForm,
  prefix: string,
  sync?: BackgroundSync,
): boolean {
  const draft = Draft.write(prefix, text, form);
  const durability = { isDurable: true, ...(sync !== undefined && { sync }) };
  let isPlaced = false;
  try {
    placeDurably(draft, path, durability, () => {
      linkSync(draft.path, path);
      isPlaced = true;
    });
  } catch (error) {
    // The caller takes it for absent: its name may not be on the disk.
    if (isPlaced) rmSync(path, { force: true });
    else if (hasCode(error, "EEXIST")) return false;
    throw error;
  } finally {
    draft.discard();
  }
  return true;
}

/** With a BackgroundSync, the name may reach the disk before the text does. */
function placeDurably(draft: Draft, path: string, { isDurable, sync }: Durability, place: () => void): void {
  if (isDurable && sync === undefined) fsyncSync(draft.fd);
  place();
  if (!isDurable) return;
  const folder = openFolder(dirname(path));
  if (sync === undefined) syncAndClose(folder);
  else for (const fd of [draft.handOver(), folder]) sync.add(fd);
}

/** Writes a new file and waits until its bytes are on the disk. EEXIST when the name is taken, by a link too. */
export async function writeNewFile(path: string, text: string, form: FileForm): Promise<void> {
  const draft = Draft.writeAt(path, text, form);
  try {
    await synced(draft.fd);
  } catch (error) {
    draft.discard();
    throw error;
  }
  closeSync(draft.fd);
}

/** Puts a symbolic link to `target` in place of a file or of another link. */
export async function replaceWithLink(path: string, target: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found?.isSymbolicLink() === false) requireRegular(path, found);
  const temporary = temporaryPrefix(path) + randomName();
  symlinkSync(target, temporary);
  try {
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
}

/**
 * Writes to a path that a user gave, and follows it: a link such as /dev/stdout, a FIFO, a device. The kernel guards
 * links in world-writable folders (protected_symlinks in proc(5)). A FIFO without a reader is an error.
 */
export function writeThrough(path: string, text: string): void {
  const fd = openSync(path, O_WRONLY | O_TRUNC | O_NONBLOCK);
  try {
    writeFileSync(fd, text);
  } finally {
    closeSync(fd);
  }
}

/**
 * Opens a lock file for flock(2) and creates it where it is missing. On a read-only file system an existing one is
 * opened for reading. Throws ConflictError when it is not a regular file.
 */
export function openLockFile(path: string): number {
  requireRegularOrAbsent(path);
  try {
    return openSync(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0o644);
  } catch (error) {
    if (!hasCode(error, "EROFS")) throw error;
    return openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  }
}
