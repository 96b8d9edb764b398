/** Replaces a file so that a reader, or a power cut, meets either the old text or the new, never half of one. */

import { open, rename, rm, symlink } from "node:fs/promises";
import { dirname } from "node:path";

/** Writes `text` beside `path`, makes it durable and renames it into place, with `mode` whatever the umask is. */
export async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  const temporary = temporaryName(path);
  const file = await open(temporary, "w", mode);
  try {
    await file.chmod(mode);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await moveIntoPlace(temporary, path);
}

/** The same with a symbolic link to `target`. */
export async function replaceWithLink(path: string, target: string): Promise<void> {
  const temporary = temporaryName(path);
  await rm(temporary, { force: true });
  await symlink(target, temporary);
  await moveIntoPlace(temporary, path);
}

function temporaryName(path: string): string {
  return `${path}.${process.pid}.new`;
}

async function moveIntoPlace(temporary: string, path: string): Promise<void> {
  await rename(temporary, path);
  const directory = await open(dirname(path), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
