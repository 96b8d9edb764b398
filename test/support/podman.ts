/**
 * podman on a CNI host: with its own storage, its own configuration and a busybox image. podman has no daemon; every
 * call enters the host.
 */

import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { describe } from "vitest";
import { removeCgroups } from "./cgroups.ts";
import type { CniHost } from "./cni-host.ts";
import { createImage } from "./docker.ts";
import type { EngineSystem, Engines } from "./engines.ts";
import { describeWithEtcd } from "./hosts.ts";
import { unmountBelow } from "./mounts.ts";
import type { TestNetns } from "./netns.ts";

const PROGRAMS = ["podman", "runc", "conmon", "busybox"];

/** As describeWithEtcd; skipped too, visibly, where podman 4 is not installed, unless CI is set. */
export function describeWithPodman(name: string, body: () => void): void {
  const missing = PROGRAMS.filter((program) => spawnSync("which", [program]).status !== 0);
  if (missing.length === 0 || process.env.CI) describeWithEtcd(name, body);
  else describe.skip(`${name} (${missing.join(", ")} not installed)`, body);
}

/** The [network] part of containers.conf(5): podman 4 with CNI plugins, podman 5 with netavark's. */
export type NetworkSettings = Readonly<Record<string, string | readonly string[]>>;

/** `confDir` holds the network configurations, `pluginDirs` the plugins they name. */
export function cniSettings(confDir: string, pluginDirs: readonly string[]): NetworkSettings {
  return { network_backend: "cni", cni_plugin_dirs: pluginDirs, network_config_dir: confDir };
}

/** `confDir` is for the networks that `podman network create` makes. */
export function netavarkSettings(confDir: string, pluginDirs: readonly string[]): NetworkSettings {
  return { network_backend: "netavark", netavark_plugin_dirs: pluginDirs, network_config_dir: confDir };
}

export class PodmanHost {
  readonly #netns: TestNetns;
  readonly #system: EngineSystem;
  readonly #dir: string;

  constructor(host: CniHost, engines: Engines, settings: NetworkSettings) {
    this.#netns = host.netns;
    this.#system = engines.open(host.enginePlace);
    this.#dir = join(host.dir, "podman");
    mkdirSync(this.#dir);
    writeFileSync(join(this.#dir, "containers.conf"), containersConf(settings));
    writeFileSync(join(this.#dir, "storage.conf"), storageConf(this.#dir));
    writeFileSync(join(this.#dir, "policy.json"), '{"default":[{"type":"insecureAcceptAnything"}]}');
    this.run("import", "--change", 'CMD ["/bin/sleep","1000"]', createImage(this.#dir), "box");
  }

  /** Runs podman and answers its standard output; throws with its words. */
  run(...args: readonly string[]): string {
    const [program = "", ...rest] = this.#system.enter("podman", "--tmpdir", join(this.#dir, "tmp"), ...args);
    const { status, stdout, stderr } = spawnSync(program, rest, {
      encoding: "utf8",
      env: {
        PATH: process.env.PATH,
        PODMAN_IGNORE_CGROUPSV1_WARNING: "1",
        CONTAINERS_CONF: join(this.#dir, "containers.conf"),
        CONTAINERS_STORAGE_CONF: join(this.#dir, "storage.conf"),
      },
    });
    if (status === 0) return stdout.trim();
    throw new Error(`podman ${args.join(" ")}: ${stderr}`);
  }

  /** Starts a container in the background. */
  start(name: string, network: string, ...options: readonly string[]): void {
    const parent = ["--cgroup-parent", `/${this.#netns.name}`, "--cap-add", "NET_RAW"];
    this.run("run", "-d", "--name", name, "--network", network, ...parent, ...options, "box");
  }

  /** Stops and removes everything. Throws when a container cannot be removed; its processes are gone all the same. */
  dispose(): void {
    try {
      this.run("rm", "--all", "--force", "--time", "0");
    } finally {
      this.#system.dispose();
      removeCgroups(this.#netns.name);
      unmountBelow(this.#dir);
    }
  }
}

/** What a machine without CAP_SYS_RESOURCE and systemd needs. */
function containersConf(network: NetworkSettings): string {
  const lines = Object.entries(network).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
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
${lines.join("\n")}
`;
}

function storageConf(dir: string): string {
  return `[storage]\ndriver = "vfs"\nrunroot = "${dir}/run"\ngraphroot = "${dir}/graph"\n`;
}
