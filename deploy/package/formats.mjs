/** Writes the packages of one processor in every format, or in some. */

import { writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { inTemporaryFolder } from "../cleanup.mjs";
import { buildDeb } from "./deb.mjs";
import { buildNpm } from "./npm.mjs";
import { buildImage } from "./oci.mjs";
import { openRelease } from "./release.mjs";
import { buildRpm } from "./rpm.mjs";
import { buildTarball } from "./tarball.mjs";

const BUILDERS = {
  deb: buildDeb,
  rpm: buildRpm,
  tarball: buildTarball,
  npm: buildNpm,
  oci: buildImage,
  sbom: writeBillOfMaterials,
};

/** Names of all formats. */
export const FORMATS = Object.keys(BUILDERS);

/**
 * Writes the packages into `outDir` and returns their files. `built` is what openRelease takes; `formats` default to
 * all.
 */
export async function writePackages(built, outDir, formats = FORMATS) {
  // That of the builder must not become modes of files; tools inherit it.
  const umask = process.umask(0o022);
  try {
    return await inTemporaryFolder("tulle-package-", async (work) => {
      const release = await openRelease(built, work);
      const files = [];
      for (const format of formats) files.push(...(await BUILDERS[format](release, outDir)));
      return files;
    });
  } finally {
    process.umask(umask);
  }
}

/** That of the executable, which every package has inside too. */
function writeBillOfMaterials({ arch, version, sbom }, outDir) {
  const file = path.join(outDir, `tulle-${version}-linux-${arch}.cdx.json`);
  writeFileSync(file, sbom);
  return [file];
}
