/** SHA256SUMS, in the format that `sha256sum --check` reads. */

import { createHash } from "node:crypto";
import { createReadStream, writeFileSync } from "node:fs";
import path from "node:path";
import { pipeline } from "node:stream/promises";

export const CHECKSUMS = "SHA256SUMS";

/** Lines for files below `folder`, by their names relative to it. */
export async function checksumLines(folder, names) {
  const lines = [];
  for (const name of [...names].sort()) lines.push(`${await sha256(path.join(folder, name))}  ${name}\n`);
  return lines.join("");
}

/** Writes `folder`/SHA256SUMS. */
export async function writeChecksums(folder, names) {
  writeFileSync(path.join(folder, CHECKSUMS), await checksumLines(folder, names));
}

/** Of a file, in hexadecimal. */
export async function sha256(file) {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}
