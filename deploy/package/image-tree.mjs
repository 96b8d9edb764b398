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

/** Patterns of the files that are taken of each package, below /usr. All of a package's licences are taken. */
const SHARED_LIBRARY = /^lib\/[^/]+\/lib[^/]+\.so[^/]*$/;
const PACKAGES = new Map([
  ["libc6", /^(lib64\/ld-|lib\/ld-|lib\/[^/]+\/(ld-linux-|lib(c|m|dl|pthread)\.so))/],
  ["dash", /^bin\/dash$/],
  ["coreutils", /^bin\/cat$/],
  ["nftables", /^sbin\/nft$/],
  [
    "iptables",
    /^sbin\/(xtables-(nft|legacy)-multi$|ip6?tables-(nft|legacy))|^lib\/[^/]+\/xtables\/lib(xt|ipt|ip6t)_/,
  ],
  ["libxtables12", /^lib\/[^/]+\/(libxtables\.so|xtables\/)/],
  ["base-files", /^share\/common-licenses\/L?GPL-/],
  ...[
    ...[
      "libnftables1",
      "libnftnl11",
      "libmnl0",
      "libjansson4",
      "libgmp10",
      "libedit2",
      "libtinfo6",
      "libbsd0",
    ],
    ...["libmd0", "libip4tc2", "libip6tc2"],
  ].map((name) => [name, SHARED_LIBRARY]),
]);

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

/** The packages of Debian inside: `name`, `version`, `architecture` and the folder that holds their files. */
export function imagePackages(architecture) {
  const names = [...PACKAGES.keys()];
  const folders = fetchPackages(SUITE, names, architecture);
  return names.map((name, index) => {
    const control = readFileSync(path.join(folders[index], "DEBIAN/control"), "utf8");
    const version = /^Version: (.+)$/m.exec(control)?.[1];
    return { name, version, architecture, folder: folders[index] };
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
  const pattern = PACKAGES.get(name);
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
