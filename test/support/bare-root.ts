/**
 * A root file system with the executable and the C library alone: read-only, with the usual places for data in memory, of
 * which none may hold programs.
 */

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";

/** The names of the executable beside `tulle`. */
const LINKS = ["tulled", "tulle-cni", "tulle-netavark"];

/** What ldd(1) prints for each library: its name, and the file that has it. */
const LIBRARY = /(?:=> )?(\/\S+) \(0x/g;

/** Fills an empty folder, which `enterBareRoot` mounts read-only. */
export function fillBareRoot(root: string, executable: string): void {
  const libraries = [...execFileSync("ldd", [executable], { encoding: "utf8" }).matchAll(LIBRARY)];
  for (const [, library = ""] of libraries) copyInto(root, library, library);
  copyInto(root, executable, "/usr/bin/tulle");
  for (const name of LINKS) symlinkSync("tulle", join(root, "usr/bin", name));
  for (const folder of ["proc", "sys", "dev", "run", "tmp", "var/lib", "store", "netns"])
    mkdirSync(join(root, folder), { recursive: true });
}

/**
 * The command that runs `command` there, with folders of this machine at other places: `{ "/store": "/tmp/x" }`. Neither
 * a shell nor another program is in the new root.
 */
export function enterBareRoot(
  root: string,
  folders: Readonly<Record<string, string>>,
  ...command: readonly string[]
): readonly string[] {
  const binds = Object.entries(folders).map(([target, source]) => `mount --rbind "${source}" "$0${target}"`);
  const script = `
    set -e
    mount --bind "$0" "$0"
    mount -t tmpfs -o noexec,nosuid,nodev tmpfs "$0/tmp"
    for folder in proc sys dev; do mount --rbind "/$folder" "$0/$folder"; done
    ${binds.join("\n")}
    mount -o remount,bind,ro "$0"
    exec chroot "$0" "$@"`;
  return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, root, ...command];
}

function copyInto(root: string, source: string, target: string): void {
  mkdirSync(join(root, dirname(target)), { recursive: true });
  copyFileSync(source, join(root, target));
}
