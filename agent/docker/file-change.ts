/** Reads and writes an administrator's files: whole, durable, with their owner and mode, through symbolic links. */

import { chown, lstat, readFile, realpath, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { ConfigError, errorMessage } from "../../ipam/errors.ts";
import { makeFolder } from "../../ipam/folder.ts";
import { replaceFile } from "../host/durable-file.ts";

/** A file before and after; null stands for no file. */
export interface FileChange {
  readonly path: string;
  readonly before: string | null;
  readonly after: string | null;
  /** The file whose owner and mode this one gets when it is new: a copy must not be more open than what it holds. */
  readonly like?: string;
}

/** What to do about the errors of which the kernel's words do not tell (errno(3)). */
const REMEDIES: Readonly<Record<string, string>> = {
  EROFS: "its file system is mounted read-only: make that writable",
  EBUSY: "it is a mount point: change the file that is mounted there",
  EACCES: "run as root",
  EPERM: "run as root, on a file that is not immutable (lsattr)",
};

/** The file's text, null when there is no file. Throws ConfigError for anything else, a dangling link too. */
export async function readText(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isAbsent(error) && !(await isLink(path))) return null;
    const reason = isAbsent(error) ? "it is a symbolic link to nowhere: remove it" : errorMessage(error);
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
    if (isAbsent(error)) return path;
    throw error;
  });
  const model = await stat(like).catch(() => null);
  await replaceFile(target, text, model === null ? 0o644 : model.mode & 0o7777);
  if (model !== null) await chown(target, model.uid, model.gid);
}

async function isLink(path: string): Promise<boolean> {
  return await lstat(path).then(
    (found) => found.isSymbolicLink(),
    () => false,
  );
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
