/** One Docker host of the chaos: its containers as they should be, and how it is damaged and brought back. */

import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { DockerHost } from "../docker.ts";
import type { DockerLab } from "../docker-lab.ts";

/** The network that all containers are on. */
export const NETWORK = "chaos";
export const SUBNET = "10.9.0.0/24";
/** Of the addresses in SUBNET. */
export const SUBNET_START = "10.9.0.";
const START_SECONDS = 60;

export interface ChaosContainer {
  readonly name: string;
  /** Given with --ip; null for one that tulle chooses. */
  readonly address: string | null;
  /** With --restart=always: comes back without help, unless a user stopped it. */
  readonly isRestarted: boolean;
}

/** Reports a line of what happens. */
export type Tell = (line: string) => void;

export class ChaosHost {
  readonly docker: DockerHost;
  readonly containers: readonly ChaosContainer[];
  readonly #lab: DockerLab;
  readonly #tell: Tell;
  /** Names of all containers of all hosts, which each of them pings all the time. */
  readonly #everyName: readonly string[];
  hasLiveRestore = false;
  /** Containers that a user stopped, which dockerd leaves stopped. */
  readonly stopped = new Set<string>();

  constructor(lab: DockerLab, number: number, everyName: readonly string[], tell: Tell) {
    this.#lab = lab;
    this.docker = lab.docker(number);
    this.#everyName = everyName;
    this.#tell = (line) => tell(`host${number}: ${line}`);
    this.containers = namesOn(number).map((name, at) => ({
      name,
      address: at === 1 ? `${SUBNET_START}${200 + number}` : null,
      isRestarted: at === 0,
    }));
  }

  get name(): string {
    return this.docker.host.name;
  }

  /** A network that a damage makes here and removes. */
  get ownNetwork(): string {
    return `only-${this.name}`;
  }

  /** Starts a container of this host that does not exist; a failure is told and repeated by the next heal. */
  async create({ name, address, isRestarted }: ChaosContainer): Promise<void> {
    const others = this.#everyName.filter((each) => each !== name).join(" ");
    // In the background of what the checks do, so that packets and questions are under way whenever damage comes.
    const script = `while :; do for n in ${others}; do ping -c 1 -W 1 $n; done >/dev/null 2>&1; sleep 1; done`;
    await this.#run(
      ...["run", "--detach", "--name", name, "--network", NETWORK, "--stop-timeout=0"],
      ...(address === null ? [] : ["--ip", address]),
      ...(isRestarted ? ["--restart=always"] : []),
      ...["box", "sh", "-c", script],
    );
  }

  async startAgent(): Promise<void> {
    if (this.docker.host.daemon.pid === null) this.docker.host.daemon.spawn(...this.#lab.agentFlags);
  }

  async startDockerd(): Promise<void> {
    if (this.docker.pid !== null) return;
    await this.docker.start(this.#lab.image, ...(this.hasLiveRestore ? ["--live-restore"] : []));
  }

  /** Kills all processes and containers of the host, and pulls its cable. */
  async die(): Promise<void> {
    this.#setCable("down");
    await this.docker.crash();
    this.#emptyKernel();
    const { runDirectory } = this.docker.host;
    for (const entry of readdirSync(runDirectory))
      rmSync(join(runDirectory, entry), { recursive: true, force: true });
  }

  /** The units' order: tulled first. */
  async boot(): Promise<void> {
    this.#setCable("up");
    await this.startAgent();
    await this.startDockerd();
  }

  /** Brings back what does not run. Throws for a container that should have come back without help. */
  async heal(): Promise<void> {
    await this.startAgent();
    await this.startDockerd();
    await this.#removeOthers();
    for (const container of this.containers) await this.#healContainer(container);
    this.stopped.clear();
  }

  /** Containers and networks that a damage could not remove itself, because another one came at once. */
  async #removeOthers(): Promise<void> {
    const names = this.containers.map(({ name }) => name);
    const { text: containers } = await this.docker.attempt("ps", "--all", "--format", "{{.Names}}");
    const others = containers.split("\n").filter((name) => name !== "" && !names.includes(name));
    if (others.length > 0) await this.#run("rm", "--force", ...others);
    const { text } = await this.docker.attempt(
      "network",
      "ls",
      "--filter",
      "name=only-",
      "--format",
      "{{.Name}}",
    );
    const networks = text.split("\n").filter((name) => name === this.ownNetwork);
    if (networks.length > 0) await this.#run("network", "rm", ...networks);
  }

  /** Runs docker and tells a failure. */
  async #run(...args: readonly string[]): Promise<boolean> {
    const { ok, text } = await this.docker.attempt(...args);
    if (!ok) this.#tell(`docker ${args.slice(0, 4).join(" ")} …: ${text.split("\n").at(-1)}`);
    return ok;
  }

  async #healContainer(container: ChaosContainer): Promise<void> {
    const { name, isRestarted } = container;
    const endMs = performance.now() + START_SECONDS * 1000;
    for (;;) {
      const state = await this.#stateOf(name);
      if (state === "running") return;
      if (state === "running alone") await this.#run("rm", "--force", name);
      else if (state === null) await this.create(container);
      else if (!isRestarted || this.stopped.has(name)) await this.#run("start", name);
      if (performance.now() > endMs)
        throw new Error(`${this.name}: ${name} does not run within ${START_SECONDS} s: ${state}`);
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  /** "running", "running alone" without the network, "exited", …; null for a container that does not exist. */
  async #stateOf(name: string): Promise<string | null> {
    const format = `{{.State.Status}}{{if not (index .NetworkSettings.Networks "${NETWORK}")}} alone{{end}}`;
    const { ok, text } = await this.docker.attempt("inspect", "--format", format, name);
    if (!ok) return null;
    return text.startsWith("running") ? text : text.replace(/ alone$/, "");
  }

  #setCable(state: "up" | "down"): void {
    this.#lab.net.lab.lan.ip(`link set ${this.name} ${state}`);
  }

  /** What a kernel does not have after a boot. */
  #emptyKernel(): void {
    const { netns } = this.docker.host;
    const script = [
      "for link in $(ls /sys/class/net); do",
      '  case "$link" in lo|eth0|bonding_masters) ;; *) ip link delete "$link" 2>/dev/null ;; esac',
      "done",
      "ip address flush dev lo scope link",
      "nft flush ruleset",
    ].join("\n");
    // /sys shows the network namespace that it was mounted in (sysfs(5)).
    const own = `mount -t sysfs sysfs /sys && ${script}`;
    netns.exec("unshare", ["--mount", "--propagation", "private", "sh", "-c", own]);
  }
}

export function namesOn(number: number): readonly string[] {
  return [`c${number}a`, `c${number}b`];
}
