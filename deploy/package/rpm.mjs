/** The RPM package, made by rpmbuild(8), which Debian has too. Its scripts are in rpm/tulle.spec. */

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { inTemporaryFolder } from "../cleanup.mjs";
import { licenceExpression } from "../licences.mjs";
import { DESCRIPTION, MAINTAINER } from "./description.mjs";
import { OLDEST } from "./requirements.mjs";
import { runTool } from "./run-tool.mjs";
import { fillIn, LEAVE_RUNTIMES, OWN_UNITS } from "./scripts.mjs";
import { stage } from "./stage.mjs";
import { LAYOUTS, packageTree } from "./tree.mjs";

const SPEC = fileURLToPath(new URL("rpm/tulle.spec", import.meta.url));
const LICENCES = "/usr/share/licenses/tulle";
const ARCHITECTURES = {
  x64: { name: "x86_64", loader: "ld-linux-x86-64.so.2" },
  arm64: { name: "aarch64", loader: "ld-linux-aarch64.so.1" },
};

/** Folders that belong to this package alone. */
const OWN_FOLDERS = /^\/usr\/(share\/(doc|licenses)\/tulle|lib\/netavark)(\/|$)/;

/** Writes `tulle-VERSION-1.ARCH.rpm` into `outDir` and returns its name in a list. `release`: see release.mjs. */
export function buildRpm(release, outDir) {
  const { name: architecture, loader } = ARCHITECTURES[release.arch];
  const version = rpmVersion(release.version);
  return inTemporaryFolder("tulle-rpm-", async (work) => {
    const staged = path.join(work, "staged");
    const entries = [
      ...packageTree({ ...release, layout: LAYOUTS.fedora }),
      { path: `${LICENCES}/LICENSES.txt`, content: Buffer.from(release.licences), isLicence: true },
    ];
    stage(entries, staged, release.epoch);
    const spec = path.join(work, "tulle.spec");
    const values = { VERSION: version, MAINTAINER, DESCRIPTION, STAGED: staged };
    const parts = {
      LICENCE: licenceExpression(release.packages),
      LOADER: loader,
      GLIBC: OLDEST.glibc,
      FILES: fileList(entries),
      // A single % would begin a macro.
      LEAVE: LEAVE_RUNTIMES.replaceAll("%", "%%"),
      OWN: OWN_UNITS.replaceAll("%", "%%"),
    };
    writeFileSync(spec, fillIn(readFileSync(SPEC, "utf8"), { ...values, ...parts }));
    await runRpmbuild(spec, architecture, work, release);
    const name = `tulle-${version}-1.${architecture}.rpm`;
    mkdirSync(outDir, { recursive: true });
    copyFileSync(path.join(work, "RPMS", architecture, name), path.join(outDir, name));
    return [path.join(outDir, name)];
  });
}

/** As Debian's, "~" sorts before the release. */
function rpmVersion(version) {
  return version.replaceAll("-", "~");
}

/** The lines of %files: with modes and owner, so that the builder's umask does not count. */
function fileList(entries) {
  const folders = new Set();
  const lines = entries.map((entry) => {
    for (let folder = path.dirname(entry.path); OWN_FOLDERS.test(folder); folder = path.dirname(folder))
      folders.add(folder);
    return `${attributesOf(entry)}${entry.path}`;
  });
  return [...[...folders].sort().map((folder) => `%dir %attr(0755, root, root) ${folder}`), ...lines].join(
    "\n",
  );
}

function attributesOf({ link, mode = 0o644, isConfig, isLicence, path: name }) {
  const kind = isConfig ? "%config(noreplace) " : isLicence ? "%license " : documentation(name);
  return `${kind}${link === undefined ? `%attr(0${mode.toString(8)}, root, root) ` : ""}`;
}

/** Left out by an installation without documents (rpm --excludedocs). */
function documentation(name) {
  return /^\/usr\/share\/(doc|man)\//.test(name) ? "%doc " : "";
}

async function runRpmbuild(spec, architecture, work, { epoch, isFast }) {
  const macros = {
    _topdir: work,
    _build_id_links: "none",
    _buildhost: "localhost",
    _binary_payload: isFast ? "w.ufdio" : "w9.xzdio",
    debug_package: "%{nil}",
    // It would strip the executable, which carries the programs behind its segments.
    __os_install_post: "%{nil}",
    use_source_date_epoch_as_buildtime: "1",
    clamp_mtime_to_source_date_epoch: "1",
  };
  const defines = Object.entries(macros).flatMap(([name, value]) => ["--define", `${name} ${value}`]);
  const env = { ...process.env, SOURCE_DATE_EPOCH: `${epoch}`, LC_ALL: "C" };
  await runTool("rpmbuild", ["-bb", "--quiet", `--target=${architecture}-linux`, ...defines, spec], { env });
}
