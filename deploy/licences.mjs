/** Collects the licences of the npm packages inside a bundle, as those licences ask. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { BUN_PARTS, bunNotice, isBun } from "./bun-parts.mjs";

const RULE = `\n${"-".repeat(78)}\n\n`;

/** The text of LICENSES.txt. `inputs`: files that went into the bundles; `copied`: packages beside them. */
export function collectLicences(root, inputs, copied) {
  return joinLicences(packagesInside(root, inputs, copied).map(licenceOf));
}

/** Sections of a file of licences. */
export function joinLicences(sections) {
  return sections.join(RULE);
}

/**
 * The packages themselves, sorted by folder: `name`, `version` and `license` as npm has them, and `folder`. One for
 * another processor, which npm does not install, is described by package-lock.json.
 */
export function packagesInside(root, inputs, copied) {
  const folders = new Set(copied.map((name) => `node_modules/${name}`));
  for (const input of inputs) {
    const folder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0];
    if (folder !== undefined) folders.add(folder);
  }
  const lock = JSON.parse(readFileSync(path.join(root, "package-lock.json"), "utf8"));
  return [...folders].sort().map((place) => {
    const folder = path.join(root, place);
    const manifest = path.join(folder, "package.json");
    const { version, license } = existsSync(manifest)
      ? JSON.parse(readFileSync(manifest, "utf8"))
      : lock.packages[place];
    return { name: place.slice(place.lastIndexOf("node_modules/") + 13), version, license, folder };
  });
}

/**
 * The licences of everything in an executable and beside it, in SPDX's syntax. `packages`: of packagesInside, and others
 * with a `license`.
 */
export function licenceExpression(packages) {
  const inside = [...packages.map(({ license }) => license), ...BUN_PARTS.map(([, licence]) => licence)];
  const single = inside.flatMap((licence) =>
    / OR /.test(licence) ? [`(${licence})`] : licence.split(" AND "),
  );
  return ["Apache-2.0", ...new Set(single.filter((licence) => licence !== "Apache-2.0").sort())].join(
    " AND ",
  );
}

/** Name, version and licence text of a package. */
export function licenceOf({ name, version, license, folder }) {
  return `${name} ${version} (${license})\n\n${textOf({ name, version, folder }).trim()}\n`;
}

function textOf({ name, version, folder }) {
  if (isBun(name)) return bunNotice(version);
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  return file === undefined
    ? "(the package carries no licence text)"
    : readFileSync(path.join(folder, file), "utf8");
}
