/** The archive for any Linux with glibc, with a script that installs it: tarball/install.sh. */

import { chmodSync, cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { inTemporaryFolder } from "../cleanup.mjs";
import { checksumLines } from "./checksums.mjs";
import { OLDEST } from "./requirements.mjs";
import { fillIn, LEAVE_RUNTIMES } from "./scripts.mjs";
import { archive, gzip, setTimes, stage } from "./stage.mjs";
import { LAYOUTS, packageTree, sortEntries } from "./tree.mjs";

const SCRIPT = fileURLToPath(new URL("tarball/install.sh", import.meta.url));
const MACHINES = {
  x64: { MACHINE: "x86_64", LOADER: "/lib64/ld-linux-x86-64.so.2" },
  arm64: { MACHINE: "aarch64", LOADER: "/lib/ld-linux-aarch64.so.1" },
};

/** The script's place among the installed files, for uninstalling; in the archive it has a second name at the top. */
const INSTALLED_SCRIPT = "/usr/share/tulle/install.sh";

/** Writes `tulle-VERSION-linux-ARCH.tar.gz` into `outDir` and returns its name in a list. `release`: see release.mjs. */
export function buildTarball(release, outDir) {
  const name = `tulle-${release.version}-linux-${release.arch}`;
  return inTemporaryFolder("tulle-tarball-", async (work) => {
    const top = path.join(work, name);
    const entries = archiveEntries(release);
    stage(entries, top, release.epoch);
    writeFileSync(path.join(top, "FILES"), fileLines(entries));
    symlinkSync(INSTALLED_SCRIPT.slice(1), path.join(top, "install.sh"));
    const files = entries.filter(({ link }) => link === undefined).map((entry) => entry.path.slice(1));
    writeFileSync(path.join(top, "SHA256SUMS"), await checksumLines(top, ["FILES", ...files]));
    for (const file of ["FILES", "SHA256SUMS"]) chmodSync(path.join(top, file), 0o644);
    setTimes(top, release.epoch);
    const tar = path.join(work, `${name}.tar`);
    await archive(work, [name], tar, release.epoch);
    const file = path.join(outDir, `${name}.tar.gz`);
    mkdirSync(outDir, { recursive: true });
    cpSync(await gzip(tar, release.isFast), file);
    return [file];
  });
}

function archiveEntries(release) {
  const script = readFileSync(SCRIPT, "utf8");
  const { kernel, glibc } = OLDEST;
  const values = { ...MACHINES[release.arch], KERNEL: kernel, GLIBC: glibc, LEAVE: LEAVE_RUNTIMES };
  const content = Buffer.from(fillIn(script, values));
  return sortEntries([
    ...packageTree({ ...release, layout: LAYOUTS.generic }),
    { path: INSTALLED_SCRIPT, content, mode: 0o755 },
    { path: "/usr/share/doc/tulle/LICENSES.txt", content: Buffer.from(release.licences) },
  ]);
}

/** FILES: kind, mode and name of each file, and the target of a link. No name has a space. */
function fileLines(entries) {
  const lines = entries.map(({ path: name, link, isConfig, mode = 0o644 }) => {
    const kind = link !== undefined ? "link" : isConfig ? "config" : "file";
    return [kind, mode.toString(8), name.slice(1), link].filter(Boolean).join(" ");
  });
  return `${lines.join("\n")}\n`;
}
