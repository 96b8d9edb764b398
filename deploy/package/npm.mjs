/**
 * The npm packages: `tulle`, which is the programs for Node, and for each processor `tulle-linux-ARCH` with the
 * executable. npm installs the second as an optional dependency of the first where it fits the machine; then the
 * launchers of the first start it.
 */

import { cpSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { ROOT } from "../bundles.mjs";
import { inTemporaryFolder } from "../cleanup.mjs";
import { launcherText } from "../launcher.mjs";
import { licenceExpression } from "../licences.mjs";
import { documents } from "./documents.mjs";
import { filesBelow } from "./files-below.mjs";
import { archive, gzip, stage } from "./stage.mjs";
import { hostFiles } from "./tree.mjs";

const PROGRAMS = ["tulle", "tulled", "tulle-cni", "tulle-netavark"];
/** As npm names them in `cpu`. */
const ARCHITECTURES = ["x64", "arm64"];
/** Packages with a native part, which npm has for each processor. */
const NATIVE = ["koffi"];

const nameOf = (arch) => `tulle-linux-${arch}`;

/** Writes `tulle-VERSION.tgz` and `tulle-linux-ARCH-VERSION.tgz` into `outDir` and returns their names. */
export async function buildNpm(release, outDir) {
  const manifest = JSON.parse(readFileSync(path.join(ROOT, "package.json"), "utf8"));
  return [
    await writeArchive("tulle", nodeEntries(release, manifest), release, outDir),
    await writeArchive(nameOf(release.arch), executableEntries(release, manifest), release, outDir),
  ];
}

function nodeEntries({ version, share }, manifest) {
  const dist = path.join(ROOT, "dist");
  if (!existsSync(path.join(dist, "lib")))
    throw new Error("the npm package is made from dist/, which is missing: run npm run build");
  // A code cache serves one version of Node only, and its bytes differ between two builds.
  const isWanted = (name) => !/^(?:node_modules|code-cache)\/|\.map$/.test(name);
  const pages = filesBelow(path.join(share, "man")).map((name) => `share/man/${name}`);
  const { description, license, engines, os } = manifest;
  const own = {
    name: "tulle",
    version,
    description,
    license,
    engines,
    os,
    type: "commonjs",
    bin: Object.fromEntries(PROGRAMS.map((name) => [name, `bin/${name}`])),
    man: pages,
    dependencies: Object.fromEntries(NATIVE.map((name) => [name, lockedVersion(name)])),
    optionalDependencies: Object.fromEntries(ARCHITECTURES.map((arch) => [nameOf(arch), version])),
  };
  const files = hostFiles();
  return [
    manifestEntry(own),
    ...PROGRAMS.map((name) => ({
      path: `bin/${name}`,
      content: Buffer.from(launcherText(name, engines.node, [startExecutable(name)])),
      mode: 0o755,
    })),
    ...filesBelow(path.join(dist, "lib"))
      .filter(isWanted)
      .map((name) => ({ path: `lib/${name}`, file: path.join(dist, "lib", name) })),
    ...filesBelow(share).map((name) => ({ path: `share/${name}`, file: path.join(share, name) })),
    ...documents(
      "",
      files.map((file) => file.path),
    ),
    ...files,
    { path: "LICENSE", file: path.join(ROOT, "LICENSE") },
    { path: "LICENSES.txt", file: path.join(dist, "LICENSES.txt") },
  ];
}

/** npm puts a dependency into the package's own folder or beside it. One for another processor is never installed. */
function startExecutable(program) {
  const places = ARCHITECTURES.flatMap((arch) => [
    `"$d/node_modules/${nameOf(arch)}/bin/tulle"`,
    `"$d/../${nameOf(arch)}/bin/tulle"`,
  ]);
  const folder = 'd=$(dirname "$(dirname "$(readlink -f "$0")")")';
  return `${folder}; for f in ${places.join(" ")}; do [ -x "$f" ] && exec "$f" ${program} "$@"; done`;
}

function executableEntries({ version, arch, executable, packages, licences, sbom }, { os }) {
  const own = {
    name: nameOf(arch),
    version,
    description: `The executable of tulle for ${arch}; install the package tulle`,
    license: licenceExpression(packages),
    os,
    cpu: [arch],
    libc: ["glibc"],
  };
  return [
    manifestEntry(own),
    { path: "bin/tulle", file: executable, mode: 0o755 },
    { path: "LICENSES.txt", content: Buffer.from(licences) },
    { path: "sbom.cdx.json", content: Buffer.from(sbom) },
  ];
}

function manifestEntry(manifest) {
  return { path: "package.json", content: Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`) };
}

/** The version that was tested. */
function lockedVersion(name) {
  const lock = JSON.parse(readFileSync(path.join(ROOT, "package-lock.json"), "utf8"));
  return lock.packages[`node_modules/${name}`].version;
}

/** The form of `npm pack`: everything below package/. Resolves with the file. */
function writeArchive(name, entries, { version, epoch, isFast }, outDir) {
  const file = path.join(outDir, `${name}-${version}.tgz`);
  return inTemporaryFolder("tulle-npm-", async (work) => {
    stage(entries, path.join(work, "package"), epoch);
    const tar = path.join(work, "package.tar");
    await archive(work, ["package"], tar, epoch);
    mkdirSync(outDir, { recursive: true });
    cpSync(await gzip(tar, isFast), file);
    return file;
  });
}
