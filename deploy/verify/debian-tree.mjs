/**
 * Makes a Debian system of another suite in a folder, with the newest container engines: programs whose libraries this
 * machine lacks.
 *
 *     node deploy/verify/debian-tree.mjs      make it, unless it is there, and print its folder
 *
 * It stays for the next run and for other checkouts; delete the folder to get newer programs. Nothing in it is started,
 * and its packages are checked by the archive's signatures.
 */

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { KEYRING, mirror, moveInto, run } from "./foreign-packages.mjs";

const CACHE = "/var/cache/tulle-test";
const SUITE = "sid";
const PACKAGES = [
  ...["docker.io", "docker-cli", "containerd", "runc", "podman", "netavark", "conmon"],
  ...["iptables", "nftables", "iproute2", "iputils-ping", "busybox-static", "procps"],
];
/** What nothing that runs from a tree reads. */
const SUPERFLUOUS = [
  "var/cache/apt",
  "var/lib/apt/lists",
  "usr/share/doc",
  "usr/share/locale",
  "usr/share/man",
];

const TREE = path.join(
  CACHE,
  `${SUITE}-${createHash("sha256").update(PACKAGES.join(" ")).digest("hex").slice(0, 8)}`,
);

/** Root folder of the tree, which is made on the first call, in one to two minutes. Throws with debootstrap's words. */
export function engineTree() {
  if (existsSync(TREE)) return TREE;
  mkdirSync(CACHE, { recursive: true });
  const work = mkdtempSync(`${TREE}-`);
  try {
    const root = path.join(work, "root");
    bootstrap(root);
    for (const folder of SUPERFLUOUS) rmSync(path.join(root, folder), { recursive: true });
    moveInto(root, TREE);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return TREE;
}

/** Why no tree can be made here, in a few words; null when one is there or can be made. */
export function treeObstacle() {
  if (process.getuid() !== 0) return "needs root";
  if (existsSync(TREE)) return null;
  return spawnSync("which", ["debootstrap"]).status === 0 ? null : "debootstrap is not installed";
}

/** debootstrap(8) mounts /proc and /sys in the tree: in a mount namespace of its own, so that they go with it. */
function bootstrap(root) {
  const keyring = existsSync(KEYRING) ? [`--keyring=${KEYRING}`] : [];
  const options = ["--variant=minbase", ...keyring, `--include=${PACKAGES.join(",")}`];
  const command = ["debootstrap", ...options, SUITE, root, mirror()];
  run("unshare", ["--mount", "--propagation", "private", "--", ...command], CACHE);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(engineTree());
