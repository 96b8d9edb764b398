/**
 * The Debian package, made by dpkg-deb(1) alone. The maintainer scripts are in debian/; what they promise is in
 * docs/install.md.
 */

import { createHash } from "node:crypto";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { inTemporaryFolder } from "../cleanup.mjs";
import { DESCRIPTION, MAINTAINER, SUMMARY } from "./description.mjs";
import { OLDEST } from "./requirements.mjs";
import { runTool } from "./run-tool.mjs";
import { fillIn, LEAVE_RUNTIMES, OWN_UNITS } from "./scripts.mjs";
import { setTimes, stage } from "./stage.mjs";
import { compress, LAYOUTS, packageTree } from "./tree.mjs";

const SCRIPTS = fileURLToPath(new URL("debian", import.meta.url));
const DOC = "/usr/share/doc/tulle";

/** Debian's names of processors. */
export const DEBIAN_ARCHITECTURES = { x64: "amd64", arm64: "arm64" };

/** Of the package's own packaging, for one version of tulle. */
const REVISION = 1;

/**
 * Writes `tulle_VERSION-1_ARCH.deb` into `outDir` and returns its name in a list. `release`: see release.mjs.
 */
export function buildDeb(release, outDir) {
  const { arch, epoch, isFast } = release;
  const version = `${debianVersion(release.version)}-${REVISION}`;
  const architecture = DEBIAN_ARCHITECTURES[arch];
  const file = path.join(outDir, `tulle_${version}_${architecture}.deb`);
  return inTemporaryFolder("tulle-deb-", async (work) => {
    const root = path.join(work, "root");
    const entries = [
      ...packageTree({ ...release, layout: LAYOUTS.debian }),
      ...policyDocuments(release, version),
    ];
    stage(entries, root, epoch);
    writeControl(path.join(root, "DEBIAN"), { entries, root, version, architecture });
    setTimes(root, epoch);
    const compression = isFast ? ["-Zzstd", "-z1"] : ["-Zxz", "-z9"];
    // dpkg-deb(1) sets no file's time later than SOURCE_DATE_EPOCH.
    const env = { ...process.env, SOURCE_DATE_EPOCH: `${epoch}` };
    // Not into outDir, where a part of the file would stay when it is interrupted.
    const whole = path.join(work, path.basename(file));
    await runTool("dpkg-deb", ["--root-owner-group", ...compression, "--build", root, whole], { env });
    mkdirSync(outDir, { recursive: true });
    copyFileSync(whole, file);
    return [file];
  });
}

/** A hyphen would begin the revision; "~" sorts before the release, as a pre-release does (deb-version(7)). */
function debianVersion(version) {
  return version.replaceAll("-", "~");
}

/** What Debian's policy asks for (sections 12.5 and 12.7). */
function policyDocuments({ licences, epoch, changelog }, version) {
  const date = new Date(epoch * 1000).toUTCString().replace("GMT", "+0000");
  const entry = `tulle (${version}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- ${MAINTAINER}  ${date}\n`;
  return [
    { path: `${DOC}/copyright`, content: Buffer.from(licences) },
    { path: `${DOC}/changelog.gz`, content: compress(Buffer.from(changelog)) },
    { path: `${DOC}/changelog.Debian.gz`, content: compress(Buffer.from(entry)) },
    {
      path: "/usr/share/lintian/overrides/tulle",
      content: readFileSync(path.join(SCRIPTS, "lintian-overrides")),
    },
  ];
}

function writeControl(folder, { entries, root, version, architecture }) {
  mkdirSync(folder);
  const sums = [];
  let bytes = 0;
  for (const entry of entries.filter(({ link }) => link === undefined)) {
    const content = readFileSync(path.join(root, entry.path));
    bytes += content.length;
    const isListed = entry.isConfig !== true;
    if (isListed) sums.push(`${createHash("md5").update(content).digest("hex")}  ${entry.path.slice(1)}`);
  }
  const files = {
    control: controlOf({ version, architecture, kibibytes: Math.ceil(bytes / 1024) }),
    conffiles: `${entries.flatMap(({ path: name, isConfig }) => (isConfig ? [name] : [])).join("\n")}\n`,
    md5sums: `${sums.sort((a, b) => (a.slice(34) < b.slice(34) ? -1 : 1)).join("\n")}\n`,
  };
  for (const [name, text] of Object.entries(files))
    writeFileSync(path.join(folder, name), text, { mode: 0o644 });
  const functions = { LEAVE: LEAVE_RUNTIMES, OWN: OWN_UNITS };
  for (const name of ["postinst", "prerm", "postrm"]) {
    const text = fillIn(readFileSync(path.join(SCRIPTS, name), "utf8"), functions);
    writeFileSync(path.join(folder, name), text);
    chmodSync(path.join(folder, name), 0o755);
  }
}

function controlOf({ version, architecture, kibibytes }) {
  const description = DESCRIPTION.split("\n").map((line) => ` ${line === "" ? "." : line}`);
  return `Package: tulle
Version: ${version}
Architecture: ${architecture}
Maintainer: ${MAINTAINER}
Installed-Size: ${kibibytes}
Depends: libc6 (>= ${OLDEST.glibc})
Recommends: iptables | nftables
Suggests: containernetworking-plugins, docker.io | podman | containerd, iproute2
Section: net
Priority: optional
Description: ${SUMMARY}
${description.join("\n")}
`;
}
