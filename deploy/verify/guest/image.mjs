/**
 * The kernel and the initramfs of the guest: Debian's own kernel package, which has the modules that this machine's
 * kernel may lack. Kept in .lab/ for the next run.
 */

import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
} from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { fetchPackage } from "../foreign-packages.mjs";

const SUITE = "bookworm";
const META_PACKAGE = "linux-image-amd64";
const BUSYBOX = "/bin/busybox";
const INIT = fileURLToPath(new URL("init.sh", import.meta.url));

/** What the initramfs itself loads; all other modules come from the machine's root. */
const BOOT_MODULES = ["virtio_pci", "9pnet_virtio", "9p", "overlay"];

/** Returns the paths of kernel, initramfs and modules. Throws with the tool's words when one cannot be made. */
export function guestImage() {
  const files = fetchPackage(SUITE, kernelPackage());
  const [version] = readdirSync(path.join(files, "lib/modules"));
  const modules = path.join(files, "lib/modules", version);
  const initramfs = path.join(files, "initramfs");
  if (!existsSync(path.join(modules, "modules.dep"))) {
    run(BUSYBOX, ["depmod", "-b", files, version]);
  }
  makeInitramfs(initramfs, modules, version);
  return { kernel: path.join(files, "boot", `vmlinuz-${version}`), initramfs, modules };
}

/** The metapackage depends on one version; its documentation folder is a link that names it. */
function kernelPackage() {
  return readlinkSync(path.join(fetchPackage(SUITE, META_PACKAGE), "usr/share/doc", META_PACKAGE));
}

function makeInitramfs(file, modules, version) {
  const root = mkdtempSync(`${file}-`);
  try {
    for (const folder of ["bin", "proc", "sys", "dev", `lib/modules/${version}`]) {
      mkdirSync(path.join(root, folder), { recursive: true });
    }
    cpSync(BUSYBOX, path.join(root, "bin/busybox"));
    cpSync(INIT, path.join(root, "init"));
    chmodSync(path.join(root, "init"), 0o755);
    const target = path.join(root, "lib/modules", version);
    cpSync(path.join(modules, "modules.dep"), path.join(target, "modules.dep"));
    for (const module of withDependencies(modules, BOOT_MODULES)) {
      cpSync(path.join(modules, module), path.join(target, module));
    }
    run("sh", ["-c", `find . | ${BUSYBOX} cpio -o -H newc > ${file}.new`], root);
    renameSync(`${file}.new`, file);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** Files of the modules and of all they need, from modules.dep (`file: file file`). */
function withDependencies(modules, names) {
  const lines = readFileSync(path.join(modules, "modules.dep"), "utf8").split("\n");
  const nameOf = (file) => path.basename(file, ".ko").replaceAll("-", "_");
  return names.flatMap((name) => {
    const line = lines.find((candidate) => nameOf(candidate.split(":")[0]) === name);
    if (line === undefined) throw new Error(`the guest's kernel has no module ${name}`);
    return line.replace(":", "").trim().split(" ");
  });
}

function run(command, args, cwd = "/") {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args[0]}: ${error?.message ?? stdout + stderr}`.trimEnd());
}
