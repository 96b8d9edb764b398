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
}

/** The file's text, null when there is no file. Throws ConfigError for anything else, a dangling link too. */
export async function readText(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isAbsent(error) && !(await isLink(path))) return null;
    throw new ConfigError(`${path} cannot be read: ${errorMessage(error)}`, { cause: error });
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
export async function applyChange({ path, after }: FileChange): Promise<void> {
  try {
    if (after === null) await rm(path, { force: true });
    else await replaceThroughLinks(path, after);
  } catch (error) {
    throw new ConfigError(
      `${path} cannot be written: ${errorMessage(error)}; run as root on a writable file system, or take the ` +
        "text from --dry-run",
      { cause: error, details: { path } },
    );
  }
}

async function replaceThroughLinks(path: string, text: string): Promise<void> {
  makeFolder(dirname(path), 0o755);
  const target = await realpath(path).catch((error: unknown) => {
    if (isAbsent(error)) return path;
    throw error;
  });
  const existing = await stat(target).catch(() => null);
  await replaceFile(target, text, existing === null ? 0o644 : existing.mode & 0o7777);
  if (existing !== null) await chown(target, existing.uid, existing.gid);
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
