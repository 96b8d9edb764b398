/** Collects the licences of the npm packages inside a bundle, as those licences ask. */

import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

/** The text of LICENSES.txt. `inputs`: files that went into the bundles; `copied`: packages beside them. */
export function collectLicences(root, inputs, copied) {
  const folders = new Set(copied.map((name) => `node_modules/${name}`));
  for (const input of inputs) {
    const folder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0];
    if (folder !== undefined) folders.add(folder);
  }
  const sections = [...folders].sort().map((folder) => licenceOf(path.join(root, folder)));
  return `${sections.join(`\n${"-".repeat(78)}\n\n`)}`;
}

function licenceOf(folder) {
  const { name, version, license } = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  const text =
    file === undefined
      ? "(the package carries no licence text)"
      : readFileSync(path.join(folder, file), "utf8");
  return `${name} ${version} (${license})\n\n${text.trim()}\n`;
}
