/** Checksums of what is published, in the form that `sha256sum --check` reads. */

import { createHash } from "node:crypto";
import { createReadStream, existsSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pipeline } from "node:stream/promises";

const FILE = "SHA256SUMS";

/** Writes SHA256SUMS into the folder unless the packaging has written it. Returns the names of all files. */
export async function writeChecksums(folder) {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .filter((name) => name !== FILE)
    .sort();
  if (!existsSync(path.join(folder, FILE))) {
    const lines = [];
    for (const name of names) lines.push(`${await sha256(path.join(folder, name))}  ${name}\n`);
    writeFileSync(path.join(folder, FILE), lines.join(""));
  }
  return [...names, FILE];
}

async function sha256(file) {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}
