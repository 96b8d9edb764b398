/** Reads whole files of limited size, whatever their content. Only what file-kind.ts permits is opened. */

import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  readSync,
  type Stats,
  statSync,
} from "node:fs";
import { ConflictError, hasCode } from "../errors.ts";
import { requireRegular } from "./file-kind.ts";

const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;

/** No file that we read is larger, unless its reader says so. */
const MAX_BYTES = 1 << 20;

/**
 * The text of a file that tulle keeps; null when there is none. Throws ConflictError when it is not a regular file of
 * at most `maxBytes`, and what the file system throws.
 */
export function readOwnFile(path: string, maxBytes = MAX_BYTES): string | null {
  return readRegular(path, lstatSync, O_NOFOLLOW, maxBytes)?.toString("utf8") ?? null;
}

/** The same for one record among others: what readOwnFile rejects counts as a record without text. */
export function readRecord(path: string): string | null {
  try {
    return readOwnFile(path);
  } catch (error) {
    if (error instanceof ConflictError) return "";
    throw error;
  }
}

/** Like readOwnFile for a file of the administrator's: symbolic links are followed. A link to nowhere counts as no file. */
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
