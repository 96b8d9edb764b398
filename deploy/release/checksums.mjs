/** Checksums of what is published, in the form that `sha256sum --check` reads. */

import { existsSync, readdirSync } from "node:fs";
import path from "node:path";
import { CHECKSUMS, writeChecksums } from "../package/checksums.mjs";

/** Writes SHA256SUMS into the folder unless the packaging has written it. Returns the names of all files. */
export async function completeChecksums(folder) {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .filter((name) => name !== CHECKSUMS)
    .sort();
  if (!existsSync(path.join(folder, CHECKSUMS))) await writeChecksums(folder, names);
  return [...names, CHECKSUMS];
}
