/**
 * The bill of materials of a package: CycloneDX 1.5 in JSON (ECMA-424's predecessor). One component for each npm package
 * in the bundles, for the runtime with its parts, and, in the image, for each Debian package.
 */

import { readFileSync } from "node:fs";
import path from "node:path";
import { BUN_PARTS, isBun } from "../bun-parts.mjs";
import { ROOT } from "../bundles.mjs";

/**
 * The document's text. `packages`: of packagesInside; `debian`: `{ name, version, architecture, license }` of Debian packages;
 * `epoch`: seconds since 1970.
 */
export function billOfMaterials({ version, epoch, packages, debian = [] }) {
  const components = [...packages.map(npmComponent), ...debian.map(debianComponent)];
  const subject = {
    type: "application",
    "bom-ref": `tulle@${version}`,
    name: "tulle",
    version,
    licenses: [{ license: { id: "Apache-2.0" } }],
  };
  const document = {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    version: 1,
    metadata: { timestamp: new Date(epoch * 1000).toISOString(), component: subject },
    components,
    dependencies: [
      { ref: subject["bom-ref"], dependsOn: components.map((component) => component["bom-ref"]) },
    ],
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function npmComponent({ name, version, license }) {
  const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
  return {
    type: isBun(name) ? "platform" : "library",
    "bom-ref": purl,
    name,
    version,
    purl,
    licenses: [licenceChoice(license)],
    ...hashesOf(name, version),
    ...(isBun(name)
      ? { components: BUN_PARTS.map(([part, expression]) => partOf(purl, part, expression)) }
      : {}),
  };
}

function partOf(purl, name, expression) {
  return {
    type: "library",
    "bom-ref": `${purl}#${encodeURIComponent(name)}`,
    name,
    licenses: [licenceChoice(expression)],
  };
}

function debianComponent({ name, version, architecture, license }) {
  const purl = `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${architecture}`;
  return { type: "library", "bom-ref": purl, name, version, purl, licenses: [licenceChoice(license)] };
}

/** One SPDX identifier, or an expression of several. */
function licenceChoice(license) {
  return /[ ()]/.test(license) ? { expression: license } : { license: { id: license } };
}

/** The digest of the npm archive, which package-lock.json has; npm checks it at the installation. */
function hashesOf(name, version) {
  const { packages } = JSON.parse(readFileSync(path.join(ROOT, "package-lock.json"), "utf8"));
  const locked = Object.entries(packages).find(
    ([place, entry]) => place.endsWith(`node_modules/${name}`) && entry.version === version,
  )?.[1];
  const digest = /^sha512-(.+)$/.exec(locked?.integrity ?? "")?.[1];
  if (digest === undefined) throw new Error(`package-lock.json has no SHA-512 of ${name} ${version}`);
  return { hashes: [{ alg: "SHA-512", content: Buffer.from(digest, "base64").toString("hex") }] };
}
