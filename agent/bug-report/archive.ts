/** Writes a compressed tar archive, for its owner only. */

import { open, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { pack } from "tar-stream";

export interface ArchiveEntry {
  readonly name: string;
  readonly text: string;
}

/**
 * Creates `path` with mode 0600, its entries in `folder`. Rejects with what the file system throws: EEXIST when there is a
 * file already. Leaves no part of an archive behind.
 */
export async function writeArchive(
  path: string,
  folder: string,
  entries: readonly ArchiveEntry[],
  date: Date,
): Promise<void> {
  const archive = pack();
  for (const { name, text } of entries) {
    archive.entry({ name: `${folder}/${name}`, mode: 0o600, mtime: date }, text);
  }
  archive.finalize();
  const file = await open(path, "wx", 0o600);
  try {
    await pipeline(archive, createGzip(), file.createWriteStream());
  } catch (error) {
    // A part of an archive looks like one, and is in the way of the next.
    await rm(path, { force: true });
    throw error;
  }
}
