/** containerd without Kubernetes' interface on a host of a lab, and its own client, ctr(8). */

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runTool } from "../../agent/demo/namespace.ts";
import { removeCgroups } from "./cgroups.ts";
import { type Daemon, startDaemon, untilReady } from "./daemon.ts";
import { disposeAtExit } from "./dispose-at-exit.ts";
import { describeOnEngines, type EngineSystem, type Engines } from "./engines.ts";
import { describeWithEtcd, type Host } from "./hosts.ts";
import { unmountBelow } from "./mounts.ts";

/** As describeWithEtcd, for this machine's containerd and the newest; skipped, visibly, where there is none, unless CI is set. */
export function describeWithPlainContainerd(name: string, body: (engines: Engines) => void): void {
  describeOnEngines(["containerd", "ctr", "runc"], name, describeWithEtcd, body);
}

export class PlainContainerd {
  readonly #system: EngineSystem;
  readonly #directory: string;
  readonly #cgroup: string;
  readonly #daemon: Daemon;

  private constructor(host: Host, engines: Engines) {
    const { netns, runDirectory } = host;
    const enter = (...command: readonly string[]): readonly string[] => host.enter(...command);
    this.#system = engines.open({ netns, runDirectory, enter });
    this.#directory = join(host.stateDirectory, "../containerd");
    this.#cgroup = netns.name;
    mkdirSync(this.#directory, { recursive: true });
    const config = join(this.#directory, "config.toml");
    writeFileSync(config, configOf(this.#directory));
    const [program = "", ...args] = this.#system.enter("containerd", "--config", config);
    this.#daemon = startDaemon(program, args);
    disposeAtExit(this);
  }

  static async start(host: Host, engines: Engines): Promise<PlainContainerd> {
    const containerd = new PlainContainerd(host, engines);
    await untilReady(
      async () => containerd.ctr("version").includes("Server:"),
      () => containerd.#daemon.output,
    );
    return containerd;
  }

  /** Runs ctr and returns its output; throws with its words. */
  ctr(...args: readonly string[]): string {
    const socket = join(this.#directory, "containerd.sock");
    return this.run("timeout", "60", "ctr", "--address", socket, ...args);
  }

  /** Runs a program in the system that containerd runs in. */
  run(...command: readonly string[]): string {
    const [program = "", ...rest] = this.#system.enter(...command);
    return runTool(program, rest);
  }

  /** `ctr run --detach` of an image in a control group of the host. */
  runContainer(name: string, image: string, options: readonly string[], args: readonly string[]): void {
    const place = ["--detach", "--cgroup", `/${this.#cgroup}/${name}`];
    this.ctr("run", ...place, ...options, image, name, ...args);
  }

  /** Ends daemon and containers at once. */
  dispose(): void {
    void this.#daemon.kill();
    this.#system.dispose();
    removeCgroups(this.#cgroup);
    unmountBelow(this.#directory);
  }
}

/** Everything is kept in `directory`. containerd 2 reads this older form too. */
function configOf(directory: string): string {
  return `version = 2
root = "${directory}/root"
state = "${directory}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "${directory}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "${directory}/opt"
`;
}
