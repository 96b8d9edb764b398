/**
 * A machine that booted with systemd as its first process: a container over this machine's own files.
 *
 * What it writes goes to memory and is lost with it. It boots to a bare target: no service of this machine starts.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { describe } from "vitest";
import { removeCgroups } from "./cgroups.ts";
import { type Daemon, startDaemon, untilReady } from "./daemon.ts";
import { disposeAtExit } from "./dispose-at-exit.ts";
import { createNetns, describeAsRoot, type TestNetns } from "./netns.ts";

/** As describeAsRoot; skipped too, visibly, where systemd-nspawn is not installed, unless CI is set. */
export function describeWithSystemd(name: string, body: () => void): void {
  const isInstalled = spawnSync("which", ["systemd-nspawn"]).status === 0;
  if (isInstalled || process.env.CI) describeAsRoot(name, body);
  else describe.skip(`${name} (systemd-nspawn not installed)`, body);
}

const TARGET = `[Unit]
Requires=sysinit.target
After=sysinit.target
AllowIsolate=yes
`;

/**
 * Mounts a throw-away layer over the root, lets "$2" fill it, and boots it. /run/systemd is covered because
 * systemd-nspawn keeps its locks there, and it makes its control groups inside our own.
 */
const BOOT_SCRIPT = `set -e
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
  [ -f "$hierarchy/cgroup.procs" ] || continue
  mkdir -p "$hierarchy/$4"
  echo $$ > "$hierarchy/$4/cgroup.procs"
done
mount -t tmpfs tmpfs "$0"
mkdir "$0/upper" "$0/work" "$0/root"
mount -t overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" overlay "$0/root"
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd
cd "$0/root"
printf '%s' "$3" > etc/systemd/system/tulle-test.target
sh -e -c "$2"
cd /
exec systemd-nspawn --quiet --register=no --keep-unit --directory="$0/root" --network-namespace-path="$1" \\
  --capability=CAP_NET_ADMIN,CAP_NET_RAW --bind=/dev/net/tun --boot systemd.unit=tulle-test.target`;

export class BootedHost {
  /** Its network, to be furnished before or after it boots. */
  readonly netns: TestNetns;
  readonly #directory: string;
  #container: Daemon | null = null;
  #firstProcess = 0;

  /** @param netns a namespace that is not removed with the host; one is made where it is absent */
  constructor(label: string, netns = createNetns(label)) {
    this.netns = netns;
    this.#directory = mkdtempSync(join(tmpdir(), `tulle-${label}-`));
    disposeAtExit(this);
  }

  /** Boots; the shell script `prepare` runs before that in what will be the root directory. */
  async boot(prepare: string): Promise<void> {
    const script = [BOOT_SCRIPT, this.#directory, this.netns.path, prepare, TARGET, this.netns.name];
    const container = startDaemon("unshare", ["--mount", "--propagation", "slave", "sh", "-c", ...script]);
    this.#container = container;
    await untilReady(
      async () => {
        if (container.pid === null) return true;
        this.#firstProcess = Number(childrenOf(container.pid)[0] ?? 0);
        return this.systemctl("is-active", "tulle-test.target") === "active";
      },
      () => container.output,
    );
    if (container.pid === null) throw new Error(`systemd ended: ${container.output}`);
  }

  /** Runs a program inside and answers its standard output; throws with its standard error. */
  run(command: string, ...args: readonly string[]): string {
    const enter = ["--target", String(this.#firstProcess), "--mount", "--uts", "--ipc", "--net", "--pid"];
    return execFileSync("nsenter", [...enter, command, ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 60_000,
    });
  }

  systemctl(...args: readonly string[]): string {
    return this.run("systemctl", ...args).trim();
  }

  /** One property of a unit, as `systemctl show` knows it. */
  property(unit: string, name: string): string {
    return this.systemctl("show", unit, "--property", name, "--value");
  }

  dispose(): void {
    void this.#container?.kill();
    removeCgroups(this.netns.name);
    this.netns.dispose();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function childrenOf(pid: number): string[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean);
}
