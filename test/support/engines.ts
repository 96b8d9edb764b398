/**
 * The container engines that tests run on: those of this machine's Debian, and the newest, which run in a Debian
 * system of their own (deploy/verify/debian-tree.mjs) on the same hosts.
 *
 *     describeOnEngines(["dockerd"], "Docker on the overlay", describeAsRoot, (engines) => {
 *       const system = engines.open({ netns: host.netns, runDirectory: host.runDirectory, enter: host.enter });
 *       const [program, ...args] = system.enter("dockerd", …);
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { describe } from "vitest";
import { engineTree, treeObstacle } from "../../deploy/verify/debian-tree.mjs";
import { type Daemon, startDaemon } from "./daemon.ts";
import { disposeAtExit } from "./dispose-at-exit.ts";
import { PROGRAMS } from "./hosts.ts";
import type { TestNetns } from "./netns.ts";

/** A whole command that runs `command` where an engine runs. */
export type Enter = (...command: readonly string[]) => readonly string[];

/** A host on which engines are to run. */
export interface EnginePlace {
  readonly netns: TestNetns;
  /** What the engines see as /run, also those of another system. */
  readonly runDirectory: string;
  /** How programs of this machine enter the host. */
  readonly enter: Enter;
}

/** One host's view of the system that its engines come from. */
export interface EngineSystem {
  readonly enter: Enter;
  /** Where this machine finds a file that programs of the system know by `path`. */
  pathOf(path: string): string;
  /** Kills every program that was entered; a second call does nothing. */
  dispose(): void;
}

export interface Engines {
  readonly name: string;
  /** True for the engines of Debian's development suite. */
  readonly isNewest: boolean;
  open(place: EnginePlace): EngineSystem;
}

export const OWN: Engines = {
  name: "this system's engines",
  isNewest: false,
  open: ({ enter }) => ({ enter, pathOf: (path) => path, dispose: () => undefined }),
};

export const NEWEST: Engines = {
  name: "the newest engines",
  isNewest: true,
  open: (place) => disposeAtExit(new TreeSystem(place)),
};

/**
 * Describes a suite for each kind of engines, by `describeSuite`, as describeAsRoot is. Skipped, visibly, where this
 * machine lacks one of `programs`, or the newest cannot be had, unless CI is set.
 */
export function describeOnEngines(
  programs: readonly string[],
  name: string,
  describeSuite: (name: string, body: () => void) => void,
  body: (engines: Engines) => void,
): void {
  for (const [engines, obstacle] of [
    [OWN, missingOf(programs)],
    [NEWEST, newestObstacle()],
  ] as const) {
    const title = `${name}, on ${engines.name}`;
    if (obstacle === null || process.env.CI) describeSuite(title, () => body(engines));
    else describe.skip(`${title} (${obstacle})`, () => body(engines));
  }
}

/** As describeOnEngines, on the newest only. */
export function describeOnNewest(
  name: string,
  describeSuite: (name: string, body: () => void) => void,
  body: () => void,
): void {
  const obstacle = newestObstacle();
  if (obstacle === null || process.env.CI) describeSuite(name, body);
  else describe.skip(`${name} (${obstacle})`, body);
}

function missingOf(programs: readonly string[]): string | null {
  const missing = programs.filter((program) => spawnSync("which", [program]).status !== 0);
  return missing.length === 0 ? null : `${missing.join(", ")} not installed`;
}

/** Why the newest engines cannot be had, null when they can; makes their system if it is not there yet. */
function newestObstacle(): string | null {
  const obstacle = treeObstacle();
  if (obstacle !== null || process.env.CI) return obstacle;
  try {
    engineTree();
    return null;
  } catch (error) {
    return `no system of the newest engines: ${String(error).split("\n")[0]}`;
  }
}

/** Of a start that has to mount a dozen folders. */
const READY_MS = 10_000;
const CHECKOUT = join(import.meta.dirname, "../..");

/**
 * Makes the tree the root of a mount namespace, and stays there so that others can enter it (pivot_root(2)). With
 * chroot(2) instead, `docker exec` would land in this machine's root, which stays that of the namespace. What the
 * engines write beside the folders of the test goes into memory.
 */
const HOLD = `
tree=$0 base=$1 run=$2 ready=$3; shift 3
mount -t tmpfs tulle-engines "$base"
mkdir "$base/upper" "$base/work" "$base/root"
root=$base/root
mount -t overlay -o "lowerdir=$tree,upperdir=$base/upper,workdir=$base/work" tulle-engines "$root"
for folder in /proc /sys /dev; do mount --rbind "$folder" "$root$folder"; done
mount --bind "$run" "$root/run"
for path; do
  if [ -d "$path" ]; then mkdir -p "$root$path"
  else mkdir -p "$(dirname "$root$path")"; : > "$root$path"; fi
  mount --bind "$path" "$root$path"
done
cd "$root"
pivot_root . mnt
umount --lazy /mnt
: > "$ready"
exec sleep infinity
`;

class TreeSystem implements EngineSystem {
  readonly #netns: TestNetns;
  readonly #holder: Daemon;
  readonly #holderPid: number;

  constructor({ netns, runDirectory }: EnginePlace) {
    this.#netns = netns;
    const base = `${runDirectory}-engines`;
    const ready = `${base}-ready`;
    for (const folder of [runDirectory, base]) mkdirSync(folder, { recursive: true });
    rmSync(ready, { force: true });
    const isElsewhere = (path: string) => !path.startsWith(`${CHECKOUT}/`);
    const shared = [tmpdir(), CHECKOUT, process.execPath, ...[join(PROGRAMS, "..")].filter(isElsewhere)];
    const script = ["sh", "-ec", HOLD, engineTree(), base, runDirectory, ready, ...shared];
    this.#holder = startDaemon("unshare", ["--mount", "--propagation", "private", ...script]);
    this.#holderPid = this.#holder.pid ?? 0;
    waitForFile(ready, () => this.#holder.output);
  }

  readonly enter: Enter = (...command) => [
    "nsenter",
    `--target=${this.#holderPid}`,
    "--mount",
    `--net=${this.#netns.path}`,
    ...command,
  ];

  /** proc_pid_root(5) */
  pathOf(path: string): string {
    return `/proc/${this.#holderPid}/root${path}`;
  }

  dispose(): void {
    if (this.#holder.pid === null) return;
    const namespace = mountNamespaceOf(this.#holderPid);
    const inside = readdirSync("/proc").filter(
      (name) => /^\d+$/.test(name) && mountNamespaceOf(name) === namespace,
    );
    spawnSync("kill", ["-KILL", ...inside]);
  }
}

/** Null for a process that is gone. */
function mountNamespaceOf(pid: number | string): string | null {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    return null; // it ended meanwhile
  }
}

function waitForFile(file: string, describeFailure: () => string): void {
  const endMs = performance.now() + READY_MS;
  const pause = new Int32Array(new SharedArrayBuffer(4));
  while (!existsSync(file)) {
    if (performance.now() > endMs) throw new Error(`${file} does not appear: ${describeFailure()}`);
    Atomics.wait(pause, 0, 0, 10);
  }
}
