/**
 * podman on a CNI host: with its own storage, its own configuration and a busybox image. podman has no daemon;
 * every call runs in the host's network namespace, and in a mount namespace of its own for what it keeps in /run.
 */

import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { describe } from "vitest";
import { removeCgroups } from "./cgroups.ts";
import type { CniHost } from "./cni-host.ts";
import { createImage } from "./docker.ts";
import { describeWithEtcd } from "./hosts.ts";
import { unmountBelow } from "./mounts.ts";
import type { TestNetns } from "./netns.ts";

const PROGRAMS = ["podman", "runc", "conmon", "busybox"];

/** As describeWithEtcd; skipped too, visibly, where podman is not installed, unless CI is set. */
export function describeWithPodman(name: string, body: () => void): void {
  const missing = PROGRAMS.filter((program) => spawnSync("which", [program]).status !== 0);
  if (missing.length === 0 || process.env.CI) describeWithEtcd(name, body);
  else describe.skip(`${name} (${missing.join(", ")} not installed)`, body);
}

export class PodmanHost {
  readonly #netns: TestNetns;
  readonly #dir: string;

  /** `confDir` holds the network configurations, `pluginDirs` the plugins they name. */
  constructor(host: CniHost, confDir: string, pluginDirs: readonly string[]) {
    this.#netns = host.netns;
    this.#dir = join(host.dir, "podman");
    mkdirSync(this.#dir);
    writeFileSync(join(this.#dir, "containers.conf"), containersConf(confDir, pluginDirs));
    writeFileSync(join(this.#dir, "storage.conf"), storageConf(this.#dir));
    writeFileSync(join(this.#dir, "policy.json"), '{"default":[{"type":"insecureAcceptAnything"}]}');
    this.run("import", "--change", 'CMD ["/bin/sleep","1000"]', createImage(this.#dir), "box");
  }

  /** Runs podman and answers its standard output; throws with its words. */
  run(...args: readonly string[]): string {
    const { status, stdout, stderr } = spawnSync(
      "nsenter",
      [`--net=${this.#netns.path}`, "podman", "--tmpdir", join(this.#dir, "tmp"), ...args],
      {
        encoding: "utf8",
        env: {
          PATH: process.env.PATH,
          CONTAINERS_CONF: join(this.#dir, "containers.conf"),
          CONTAINERS_STORAGE_CONF: join(this.#dir, "storage.conf"),
        },
      },
    );
    if (status === 0) return stdout.trim();
    throw new Error(`podman ${args.join(" ")}: ${stderr}`);
  }

  /** Starts a container in the background. */
  start(name: string, network: string, ...options: readonly string[]): void {
    const parent = ["--cgroup-parent", `/${this.#netns.name}`];
    this.run("run", "-d", "--name", name, "--network", network, ...parent, ...options, "box");
  }

  /** Stops and removes everything. Throws when a container cannot be removed; its processes are gone all the same. */
  dispose(): void {
    try {
      this.run("rm", "--all", "--force", "--time", "0");
    } finally {
      removeCgroups(this.#netns.name);
      unmountBelow(this.#dir);
    }
  }
}

/** What a machine without CAP_SYS_RESOURCE and systemd needs. */
function containersConf(confDir: string, pluginDirs: readonly string[]): string {
  return `[containers]
log_driver = "k8s-file"
pids_limit = 0
default_ulimits = ["nofile=1024:4096", "nproc=4096:8192"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
lock_type = "file"
[network]
network_backend = "cni"
cni_plugin_dirs = ${JSON.stringify(pluginDirs)}
network_config_dir = "${confDir}"
`;
}

function storageConf(dir: string): string {
  return `[storage]\ndriver = "vfs"\nrunroot = "${dir}/run"\ngraphroot = "${dir}/graph"\n`;
}
