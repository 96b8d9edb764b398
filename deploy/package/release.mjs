/** What all packages of one version for one processor are made of. */

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { ROOT } from "../bundles.mjs";
import { joinLicences, licenceOf, packagesInside } from "../licences.mjs";
import { writeManual } from "../manual/manual.mjs";
import { billOfMaterials } from "./sbom.mjs";

/** Texts that Debian's base-files has, of licences of the runtime's parts. */
const COMMON_LICENCES = ["LGPL-2", "LGPL-2.1"];

/**
 * Collects it; `workFolder` is for the manual pages and must stay until the packages are written. `executable`, `inputs`
 * and `packages`: the file, and what buildExecutable returned for it. `version`: default that of package.json. `isFast`:
 * compress little, for tests.
 */
export async function openRelease(
  { arch, executable, inputs, packages, version = manifestVersion(), isFast = false },
  workFolder,
) {
  const epoch = sourceDateEpoch();
  const share = path.join(workFolder, "share");
  mkdirSync(share, { recursive: true });
  await writeManual(ROOT, share);
  const inside = packagesInside(ROOT, inputs, packages);
  return {
    arch,
    executable,
    version,
    epoch,
    isFast,
    share,
    packages: inside,
    changelog: readFileSync(path.join(ROOT, "CHANGELOG.md"), "utf8"),
    licences: licencesOf(inside),
    sbom: billOfMaterials({ version, epoch, packages: inside }),
  };
}

/** Seconds since 1970: SOURCE_DATE_EPOCH (reproducible-builds.org), else the time of the commit. */
function sourceDateEpoch() {
  const given = process.env.SOURCE_DATE_EPOCH;
  if (given !== undefined) {
    if (/^\d{1,12}$/.test(given)) return Number(given);
    throw new Error(`SOURCE_DATE_EPOCH: "${given}" is wrong; take seconds since 1970, or unset it`);
  }
  const log = ["-C", ROOT, "log", "--max-count=1", "--format=%ct"];
  try {
    return Number(execFileSync("git", log, { encoding: "utf8" }));
  } catch (error) {
    throw new Error(`no commit tells the time of this source; set SOURCE_DATE_EPOCH (${error.message})`);
  }
}

function manifestVersion() {
  return JSON.parse(readFileSync(path.join(ROOT, "package.json"), "utf8")).version;
}

/** tulle's licence, those of the bundled packages, and the texts that the runtime's notice names. */
function licencesOf(packages) {
  const own = `tulle (Apache-2.0)\n\n${readFileSync(path.join(ROOT, "LICENSE"), "utf8").trim()}\n`;
  const common = COMMON_LICENCES.map((name) => {
    const text = readFileSync(path.join("/usr/share/common-licenses", name), "utf8");
    return `${name}\n\n${text.trim()}\n`;
  });
  return joinLicences([own, ...packages.map(licenceOf), ...common]);
}
