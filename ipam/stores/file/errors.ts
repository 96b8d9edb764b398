/**
 * Failures of the directory as errors of the store.
 */

import { errorMessage, StoreError } from "../../errors.ts";

const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: "free some space; what was stored before is intact",
  EDQUOT: "raise the quota; what was stored before is intact",
  EACCES: "run as the user who owns it, or give another --store file:DIR",
  EPERM: "put the directory on a file system with hard links that this user may write",
  EROFS: "give a --store file:DIR on a writable file system",
  ENOTDIR: "give a --store file:DIR that is a directory",
  EXDEV: "give a --store file:DIR inside one file system",
};

/** A retry does not help: a person must change something. */
const PERMANENT = new Set(["EACCES", "EPERM", "EROFS", "ENOTDIR", "EXDEV"]);

/** The errno name of a failed system call, null for other errors. */
export function errnoOf(error: unknown): string | null {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return typeof code === "string" && code.startsWith("E") ? code : null;
}

/** The StoreError for a failed `operation` on `path`; `outcomeUnknown` when the write may have happened. */
export function fileStoreError(
  operation: "read" | "write",
  path: string,
  error: unknown,
  outcomeUnknown = false,
): StoreError {
  const errno = errnoOf(error);
  const remedy = REMEDIES[errno ?? ""] ?? "look at the directory; remove the file if it is damaged";
  return new StoreError(`cannot ${operation} the file store ${path}: ${errorMessage(error)}: ${remedy}`, {
    retryable: errno !== null && !PERMANENT.has(errno),
    details: { path, errno, outcomeUnknown },
    cause: error,
  });
}
