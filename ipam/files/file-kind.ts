/**
 * Which kinds of file tulle opens.
 *
 * The rule for symbolic links: parent folders may be links, as /var/run is. A file that tulle keeps for itself must be
 * a regular file: a link in its place is rejected, because its creator would choose which file is read or overwritten.
 * A file that belongs to the administrator (daemon.json, unit files, certificates) may be a link to a regular file.
 *
 * A FIFO would block open(2) and a device may act when it is opened, so both are rejected before they are opened.
 */

import { lstatSync, type Stats } from "node:fs";
import { ConflictError } from "../errors.ts";

export function requireRegularOrAbsent(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined) requireRegular(path, found);
}

export function requireRegular(path: string, found: Stats): void {
  if (!found.isFile()) throw misplaced(path, found, "a regular file");
}

export function misplaced(path: string, found: Stats, wanted: string): ConflictError {
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
