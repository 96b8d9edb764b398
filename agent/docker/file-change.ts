/** Reads and writes files of the administrator: atomically, with their owner and mode, through symbolic links. */

import { lstat, realpath, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { ConfigError, errorMessage, hasCode } from "../../ipam/errors.ts";
import type { FileForm } from "../../ipam/files/draft.ts";
import { makeFolder } from "../../ipam/files/folder.ts";
import { readForeignFile } from "../../ipam/files/read.ts";
import { replaceFile } from "../../ipam/files/write.ts";

/** A file's text before and after; null where the file does not exist. */
export interface FileChange {
  readonly path: string;
  readonly before: string | null;
  readonly after: string | null;
  /** The file whose owner and mode this one gets when it is new: a copy must not be more open than what it holds. */
  readonly like?: string;
}

/** Remedies for errors whose text in errno(3) names none. */
const REMEDIES: Readonly<Record<string, string>> = {
  EROFS: "its file system is mounted read-only: make that writable",
  EBUSY: "it is a mount point: change the file that is mounted there",
  EACCES: "run as root",
  EPERM: "run as root, on a file that is not immutable (lsattr)",
};

/** The file's text, null when the file does not exist. Throws ConfigError for anything else, a dangling link too. */
export async function readText(path: string): Promise<string | null> {
  try {
    const text = readForeignFile(path);
    if (text === null && (await isLink(path))) throw new Error("it is a symbolic link to nowhere: remove it");
    return text;
  } catch (error) {
    const reason = errorMessage(error);
    throw new ConfigError(`${path} cannot be read: ${reason}`, { cause: error, details: { path } });
  }
}

/** Makes all changes or none. Throws ConfigError that names the file and what to do. */
export async function applyChanges(changes: readonly FileChange[]): Promise<void> {
  const made: FileChange[] = [];
  try {
    for (const change of changes) {
      await applyChange(change);
      made.push(change);
    }
  } catch (error) {
    for (const { path, before, after } of made.reverse()) {
      await applyChange({ path, before: after, after: before });
    }
    throw error;
  }
}

/** Makes the change. Throws ConfigError that names the file and what to do. */
export async function applyChange({ path, after, like }: FileChange): Promise<void> {
  try {
    if (after === null) await rm(path, { force: true });
    else await replaceThroughLinks(path, after, like ?? path);
  } catch (error) {
    throw new ConfigError(
      `${path} cannot be written: ${reasonOf(error)}, or put what --dry-run shows where the file comes from`,
      { cause: error, details: { path } },
    );
  }
}

function reasonOf(error: unknown): string {
  const remedy = error instanceof Error && "code" in error ? REMEDIES[String(error.code)] : undefined;
  return remedy ?? `${errorMessage(error)}; correct that`;
}

async function replaceThroughLinks(path: string, text: string, like: string): Promise<void> {
  makeFolder(dirname(path), 0o755);
  const target = await realpath(path).catch((error: unknown) => {
    if (hasCode(error, "ENOENT")) return path;
    throw error;
  });
  await replaceFile(target, text, await formOf(like));
}

/** Mode and owner of an existing file, those of a new one where there is none. */
async function formOf(path: string): Promise<FileForm> {
  try {
    const { mode, uid, gid } = await stat(path);
    return { mode: mode & 0o7777, owner: { uid, gid } };
  } catch (error) {
    if (hasCode(error, "ENOENT")) return { mode: 0o644 };
    throw error;
  }
}

async function isLink(path: string): Promise<boolean> {
  return await lstat(path).then(
    (found) => found.isSymbolicLink(),
    () => false,
  );
}
