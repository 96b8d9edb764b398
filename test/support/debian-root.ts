/**
 * A fresh Debian system without an init system, as a container image has it: a layer over the system of the newest
 * engines. What a script changes in it is lost when the script ends.
 */

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { engineTree } from "../../deploy/verify/debian-tree.mjs";
import { describeOnNewest } from "./engines.ts";
import { describeAsRoot } from "./netns.ts";

/** As describeAsRoot; skipped too, visibly, where the system cannot be made, unless CI is set. */
export function describeWithDebian(name: string, body: () => void): void {
  describeOnNewest(name, describeAsRoot, body);
}

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export interface ScriptResult {
  readonly exitCode: number | null;
  readonly out: string;
  readonly err: string;
}

export interface RootOptions {
  /** Bytes that may be written in it, in MiB. Default 1024. */
  readonly mebibytes?: number;
}

/**
 * Runs a shell script in the system, where `folder` is /packages and $ROOT of `outside` is the system's root; `outside`
 * runs before it, in this machine's own system.
 */
export function inDebian(
  folder: string,
  script: string,
  { mebibytes = 1024, outside = "" }: RootOptions & { readonly outside?: string } = {},
): ScriptResult {
  const base = mkdtempSync(join(tmpdir(), "tulle-debian-"));
  const words = ["sh", "-ec", ENTER, engineTree(), base, folder, `${mebibytes}`, outside, script];
  const { status, stdout, stderr } = spawnSync("unshare", ["--mount", "--net", ...words], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" },
  });
  rmdirSync(base);
  return { exitCode: status, out: stdout, err: stderr };
}

/** All mounts go with the namespace. /dev and /proc are those of this machine; the network is empty. */
const ENTER = `
tree=$0 base=$1 packages=$2 mebibytes=$3 outside=$4 script=$5
mount --make-rprivate /
mount -t tmpfs -o "size=\${mebibytes}m" tulle-debian "$base"
mkdir "$base/upper" "$base/work" "$base/root"
ROOT=$base/root
mount -t overlay -o "lowerdir=$tree,upperdir=$base/upper,workdir=$base/work" tulle-debian "$ROOT"
for folder in proc dev; do mount --rbind "/$folder" "$ROOT/$folder"; done
mkdir "$ROOT/packages"
mount --bind "$packages" "$ROOT/packages"
export ROOT
sh -ec "$outside"
exec chroot "$ROOT" sh -ec "$script"
`;
