/**
 * What the image holds: the executable, the C library that it needs, and the programs that tulled runs (nft, iptables,
 * a shell), from packages of Debian. No package manager, and nothing that is not needed to run these.
 */

import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import path from "node:path";
import { fetchPackages } from "../verify/foreign-packages.mjs";
import { LAYOUTS, programs, sortEntries } from "./tree.mjs";

/** Of Debian's stable suite: iptables must understand rules that newer programs of the host have written. */
const SUITE = "trixie";

/**
 * Of each package, a pattern of the files that are taken, below /usr, and the licences of these files in SPDX's syntax.
 * The package's own text of its licences is taken too, and has all of them.
 */
const SHARED_LIBRARY = /^lib\/[^/]+\/lib[^/]+\.so[^/]*$/;
const PACKAGES = {
  libc6: [
    /^(lib64\/ld-|lib\/ld-|lib\/[^/]+\/(ld-linux-|lib(c|m|dl|pthread)\.so))/,
    "LGPL-2.1-or-later AND LGPL-2.0-or-later AND BSD-3-Clause AND HPND-DEC AND ISC AND Inner-Net-2.0 AND MIT AND SunPro",
  ],
  dash: [/^bin\/dash$/, "BSD-3-Clause AND GPL-2.0-or-later"],
  coreutils: [/^bin\/cat$/, "GPL-3.0-or-later"],
  nftables: [/^sbin\/nft$/, "GPL-2.0-only"],
  iptables: [
    /^sbin\/(xtables-(nft|legacy)-multi$|ip6?tables-(nft|legacy))|^lib\/[^/]+\/xtables\/lib(xt|ipt|ip6t)_/,
    "GPL-2.0-only AND GPL-2.0-or-later",
  ],
  libxtables12: [/^lib\/[^/]+\/(libxtables\.so|xtables\/)/, "GPL-2.0-only"],
  "base-files": [/^share\/common-licenses\/L?GPL-/, "GPL-2.0-or-later"],
  libnftables1: [SHARED_LIBRARY, "GPL-2.0-only AND GPL-2.0-or-later"],
  libnftnl11: [SHARED_LIBRARY, "GPL-2.0-or-later"],
  libmnl0: [SHARED_LIBRARY, "LGPL-2.1-or-later"],
  libjansson4: [SHARED_LIBRARY, "MIT"],
  libgmp10: [SHARED_LIBRARY, "LGPL-3.0-or-later OR GPL-2.0-or-later"],
  libedit2: [SHARED_LIBRARY, "BSD-3-Clause"],
  libtinfo6: [/^lib\/[^/]+\/libtinfo\.so/, "X11-distribute-modifications-variant AND BSD-3-Clause"],
  libbsd0: [SHARED_LIBRARY, "BSD-3-Clause AND BSD-2-Clause AND ISC AND MIT AND Beerware"],
  libmd0: [SHARED_LIBRARY, "BSD-3-Clause AND BSD-2-Clause AND ISC AND Beerware"],
  libip4tc2: [SHARED_LIBRARY, "GPL-2.0-only"],
  libip6tc2: [SHARED_LIBRARY, "GPL-2.0-only"],
};

/** Names that Debian's packages leave to update-alternatives(1) and to the installation of a system. */
const LINKS = {
  ...Object.fromEntries(
    ["iptables", "ip6tables"].flatMap((name) =>
      ["", "-save", "-restore"].map((suffix) => [`/usr/sbin/${name}${suffix}`, "xtables-nft-multi"]),
    ),
  ),
  "/usr/bin/sh": "dash",
  "/bin": "usr/bin",
  "/sbin": "usr/sbin",
  "/lib": "usr/lib",
  "/lib64": "usr/lib64",
  "/var/run": "/run",
};

const TEXTS = {
  "/etc/passwd": "root:x:0:0:root:/:/bin/sh\n",
  "/etc/group": "root:x:0:\n",
  "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
};

/** Mount points; runtimes make those of the kernel's file systems. */
const FOLDERS = ["/run", "/usr/lib/modules", "/usr/lib64", "/var/lib/tulle"];

/** The packages of Debian inside: `name`, `version`, `architecture`, `license`, and the folder that holds their files. */
export function imagePackages(architecture) {
  const names = Object.keys(PACKAGES);
  const folders = fetchPackages(SUITE, names, architecture);
  return names.map((name, index) => {
    const control = readFileSync(path.join(folders[index], "DEBIAN/control"), "utf8");
    const version = /^Version: (.+)$/m.exec(control)?.[1];
    const [, license] = PACKAGES[name];
    return { name, version, architecture, license, folder: folders[index] };
  });
}

/** Entries as in tree.mjs. `debian`: of imagePackages; `sbom` and `licences` are texts. */
export function imageTree({ executable, sbom, licences, debian }) {
  const entries = [
    ...programs(executable, LAYOUTS.generic).filter(({ path: name }) => name.startsWith("/usr/bin/")),
    ...debian.flatMap(debianEntries),
    ...Object.entries(LINKS).map(([name, link]) => ({ path: name, link })),
    ...Object.entries(TEXTS).map(([name, text]) => ({ path: name, content: Buffer.from(text) })),
    ...FOLDERS.map((name) => ({ path: name, isFolder: true })),
    { path: "/tmp", isFolder: true, mode: 0o1777 },
    { path: "/usr/share/doc/tulle/LICENSES.txt", content: Buffer.from(licences) },
    { path: "/usr/share/doc/tulle/sbom.cdx.json", content: Buffer.from(sbom) },
  ];
  return sortEntries(entries);
}

function debianEntries({ name, folder }) {
  const [pattern] = PACKAGES[name];
  const usr = path.join(folder, "usr");
  const isWanted = (file) => pattern.test(file) || file === `share/doc/${name}/copyright`;
  return walk(usr)
    .filter(isWanted)
    .map((file) => entryOf(path.join(usr, file), `/usr/${file}`));
}

function entryOf(file, target) {
  const status = lstatSync(file);
  if (status.isSymbolicLink()) return { path: target, link: readlinkSync(file) };
  return { path: target, file, mode: status.mode & 0o777 };
}

/** Paths of all files and links below a folder, relative to it. */
function walk(folder) {
  return readdirSync(folder, { recursive: true }).filter(
    (name) => !lstatSync(path.join(folder, name)).isDirectory(),
  );
}
