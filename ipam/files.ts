/**
 * The only reader and writer of files, independent of their content.
 *
 * The rule for symbolic links: parent folders may be links, as /var/run is. A file that tulle keeps for itself must be
 * a regular file: a link in its place is rejected, because its creator would choose which file is read or overwritten.
 * A file that belongs to the administrator (daemon.json, unit files, certificates) may be a link to a regular file.
 *
 * A FIFO would block open(2) and a device may act when it is opened, so both are rejected before they are opened.
 */

import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { ConflictError } from "./errors.ts";

const {
  O_APPEND,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  O_RDWR,
  O_TRUNC,
  O_WRONLY,
} = constants;

/** No file that we read is larger, unless its reader says so. */
const MAX_BYTES = 1 << 20;

/** Characters behind the prefix of a temporary file. */
export const RANDOM_NAME_LENGTH = 12;

/** A temporary file this old has lost its writer. */
const ABANDONED_MS = 60_000;

/** Mode and owner of a written file; the umask does not count. */
export interface FileForm {
  readonly mode: number;
  /** The writer's own where it is missing. */
  readonly owner?: { readonly uid: number; readonly gid: number };
}

/**
 * The text of a file that tulle keeps; null when there is none. Throws ConflictError when it is not a regular file of
 * at most `maxBytes`, and what the file system throws.
 */
export function readOwnFile(path: string, maxBytes = MAX_BYTES): string | null {
  return readRegular(path, lstatSync, O_NOFOLLOW, maxBytes)?.toString("utf8") ?? null;
}

/** The same for a file of the administrator's: symbolic links are followed. A link to nowhere counts as no file. */
export function readForeignFile(path: string, maxBytes = MAX_BYTES): string | null {
  return readRegular(path, statSync, 0, maxBytes)?.toString("utf8") ?? null;
}

/** Like readForeignFile for a file that must be there. Throws an error with the code ENOENT when it is not. */
export function readRequiredFile(path: string): string {
  return readRequiredBytes(path).toString("utf8");
}

/** The same as bytes. */
export function readRequiredBytes(path: string): Buffer {
  return required(path, readRegular(path, statSync, 0, MAX_BYTES));
}

/** A file of the installation. The executable has it embedded, where Bun reads whole files and opens none. Throws ENOENT. */
export function readShippedFile(path: string): Buffer {
  return readFileSync(path);
}

/** The first bytes of a file of any size that must be there, fewer when it is shorter. Links are followed. */
export function readFileStart(path: string, byteCount: number): Buffer {
  const read = (fd: number) => {
    const start = Buffer.alloc(byteCount);
    return start.subarray(0, readSync(fd, start));
  };
  return required(path, withRegular(path, statSync, 0, read));
}

function required(path: string, bytes: Buffer | null): Buffer {
  if (bytes !== null) return bytes;
  throw Object.assign(new Error(`ENOENT: no such file or directory, open '${path}'`), {
    code: "ENOENT",
    path,
  });
}

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
  try {
    placeDurably(draft, path, durability, () => linkSync(draft.path, path));
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
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
  const folder = openSync(dirname(path), O_RDONLY | O_DIRECTORY);
  if (sync === undefined) syncAndClose(folder);
  else for (const fd of [draft.handOver(), folder]) sync.add(fd);
}

function syncAndClose(fd: number): void {
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Brings files to the disk beside the caller's other work. */
export class BackgroundSync {
  readonly #running: Promise<void>[] = [];

  /** Takes the descriptor over. */
  add(fd: number): void {
    const running = synced(fd).finally(() => closeSync(fd));
    // `finished` tells of a failure.
    running.catch(() => undefined);
    this.#running.push(running);
  }

  /** Resolves when all files that were added are on the disk. Rejects with what the file system throws. */
  async finished(): Promise<void> {
    await Promise.all(this.#running);
  }
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

/** Waits until the folder's names are on the disk: fsync(2) of a file does not do that. */
export async function syncFolder(folder: string): Promise<void> {
  const fd = openSync(folder, O_RDONLY | O_DIRECTORY);
  try {
    await synced(fd);
  } finally {
    closeSync(fd);
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

/** True for an error of the file system with this errno's name. */
export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

/** A whole file under a temporary name, until it is renamed or discarded. */
class Draft {
  readonly path: string;
  readonly fd: number;
  #isPlaced = false;
  #isHandedOver = false;

  private constructor(path: string, fd: number) {
    this.path = path;
    this.fd = fd;
  }

  /** Writes to an unforeseeable name that begins with `prefix`. */
  static write(prefix: string, text: string, form: FileForm): Draft {
    return Draft.writeAt(prefix + randomName(), text, form);
  }

  /** O_EXCL follows no link and takes no file that is there already (open(2)). */
  static writeAt(path: string, text: string, { mode, owner }: FileForm): Draft {
    const draft = new Draft(path, openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode & 0o600));
    try {
      if (owner !== undefined) fchownSync(draft.fd, owner.uid, owner.gid);
      fchmodSync(draft.fd, mode);
      writeFileSync(draft.fd, text);
      return draft;
    } catch (error) {
      draft.discard();
      throw error;
    }
  }

  replace(path: string): void {
    renameSync(this.path, path);
    this.#isPlaced = true;
  }

  /** The descriptor, for a caller that closes it. */
  handOver(): number {
    this.#isHandedOver = true;
    return this.fd;
  }

  /** Closes the file and removes the temporary name if it is still there. */
  discard(): void {
    if (!this.#isHandedOver) closeSync(this.fd);
    if (!this.#isPlaced) rmSync(this.path, { force: true });
  }
}

function readRegular(
  path: string,
  look: (path: string) => Stats,
  flags: number,
  maxBytes: number,
): Buffer | null {
  return withRegular(path, look, flags, (fd) => readAtMost(fd, path, maxBytes));
}

/** `read` with the opened file; null when there is none. */
function withRegular(
  path: string,
  look: (path: string) => Stats,
  flags: number,
  read: (fd: number) => Buffer,
): Buffer | null {
  try {
    requireRegular(path, look(path));
    const fd = openSync(path, O_RDONLY | O_NONBLOCK | flags);
    try {
      requireRegular(path, fstatSync(fd));
      return read(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (hasCode(error, "ENOENT")) return null;
    throw error;
  }
}

function readAtMost(fd: number, path: string, maxBytes: number): Buffer {
  const chunks: Buffer[] = [];
  let total = 0;
  while (true) {
    const chunk = Buffer.alloc(Math.min(maxBytes + 1 - total, Math.max(fstatSync(fd).size - total, 0) + 1));
    const count = readSync(fd, chunk);
    if (count === 0) return Buffer.concat(chunks);
    chunks.push(chunk.subarray(0, count));
    total += count;
    if (total > maxBytes)
      throw new ConflictError(`${path} has more than ${maxBytes} bytes: put the right file in its place`, {
        details: { path },
      });
  }
}

function requireRegularOrAbsent(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined) requireRegular(path, found);
}

function requireRegular(path: string, found: Stats): void {
  if (!found.isFile()) throw misplaced(path, found, "a regular file");
}

function misplaced(path: string, found: Stats, wanted: string): ConflictError {
  const kind = kindOf(found);
  return new ConflictError(`${path} is ${kind}, not ${wanted}: remove it or move it away`, {
    details: { path, kind },
  });
}

function kindOf(found: Stats): string {
  if (found.isSymbolicLink()) return "a symbolic link";
  if (found.isDirectory()) return "a directory";
  if (found.isFIFO()) return "a FIFO";
  if (found.isSocket()) return "a socket";
  return "a device";
}

/** Hidden, and beside the file: rename(2) does not cross file systems. */
function temporaryPrefix(path: string): string {
  return join(dirname(path), `.${basename(path)}.new-`);
}

/** Web Crypto, because loading node:crypto would cost the CNI plugin two milliseconds of each container's start. */
function randomName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array((RANDOM_NAME_LENGTH * 3) / 4));
  return Buffer.from(bytes).toString("base64url");
}

/** fsync(2) on a worker thread. */
function synced(fd: number): Promise<void> {
  return new Promise((resolve, reject) => fsync(fd, (error) => (error === null ? resolve() : reject(error))));
}

/** Removes what writers left that were killed. */
function removeAbandoned(path: string): void {
  for (const each of pathsBeginningWith(temporaryPrefix(path))) {
    const modifiedMs = lstatSync(each, { throwIfNoEntry: false })?.mtimeMs;
    if (modifiedMs !== undefined && Date.now() - modifiedMs > ABANDONED_MS) removeIfPresent(each);
  }
}

function pathsBeginningWith(prefix: string): readonly string[] {
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
