/** Replaces a file so that a reader, or a power cut, meets either the old text or the new, never half of one. */

import { open, rename, rm, symlink } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Writes `text` beside `path`, makes it durable and renames it into place, with `mode` whatever the umask is. One call
 * at a time for each path. Leaves nothing beside it when it fails.
 */
export async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  await putInPlace(path, async (temporary) => await writeDurably(temporary, text, mode));
}

/** The same with a symbolic link to `target`. */
export async function replaceWithLink(path: string, target: string): Promise<void> {
  await putInPlace(path, async (temporary) => {
    await rm(temporary, { force: true });
    await symlink(target, temporary);
  });
}

async function putInPlace(path: string, make: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}.new`;
  try {
    await make(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  const directory = await open(dirname(path), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function writeDurably(path: string, text: string, mode: number): Promise<void> {
  const file = await open(path, "w", mode);
  try {
    await file.chmod(mode);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
