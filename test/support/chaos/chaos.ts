/**
 * Three Docker hosts whose containers ping each other by name, while daemons, containers, hosts and the store fail at
 * random. After each round all must heal; a seed repeats a run's choices.
 *
 *     const report = await runChaos({ engines: OWN, seed: 7, durationMs: 60_000, times: SHORT_TIMES, tell: console.log });
 */

import { readCallTimes } from "../call-times.ts";
import { create, DockerLab, networksOf, outcomeOf, until } from "../docker-lab.ts";
import type { Engines } from "../engines.ts";
import { type Random, randomNumbers } from "../random.ts";
import { ChaosHost, NETWORK, namesOn, SUBNET, type Tell } from "./chaos-host.ts";
import { problemsOf, unresolvedFrom } from "./checks.ts";
import { type ChaosTimes, DAMAGES, type Damage, type DamageContext } from "./damage.ts";
import { WatchedAddresses } from "./watched-addresses.ts";

const HOSTS = [1, 2, 3] as const;
const HEAL_MS = 90_000;
/** A host's record in the store outlives it by this time at most, and its members by two seconds more. */
const NAMES_GONE_MS = 40_000;

export const FULL_TIMES: ChaosTimes = {
  storeAwayMs: 20_000,
  partitionMs: 60_000,
  hostDeadMs: 45_000,
  daemonAwayMs: 8_000,
};
export const SHORT_TIMES: ChaosTimes = {
  storeAwayMs: 5_000,
  partitionMs: 8_000,
  hostDeadMs: 3_000,
  daemonAwayMs: 2_000,
};

export interface ChaosOptions {
  readonly engines: Engines;
  readonly seed: number;
  readonly durationMs: number;
  readonly times: ChaosTimes;
  readonly tell: Tell;
  /** Titles of the damages to choose from. Default all. */
  readonly only?: readonly string[];
}

export interface ChaosReport {
  readonly rounds: number;
  /** From the end of the damage until all was healed, milliseconds, one of each round. */
  readonly healedMs: readonly number[];
  /** How long dockerd waited for the answers to each method, milliseconds. */
  readonly callMs: ReadonlyMap<string, readonly number[]>;
  /** How many addresses of containers were read from the kernel, all at one time compared. */
  readonly addresses: number;
}

/** Throws with all that did not heal, and with every address that two containers had at one time. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const lab = new DockerLab("chaos", HOSTS.length, options.engines, { isStoreApart: true });
  try {
    await lab.build("--log-level=debug", "--log-format=json");
    return await new Chaos(lab, options).run();
  } finally {
    await lab.dispose();
  }
}

class Chaos {
  readonly #lab: DockerLab;
  readonly #options: ChaosOptions;
  readonly #hosts: readonly ChaosHost[];
  readonly #random: Random;
  readonly #healedMs: number[] = [];
  #deck: Damage[] = [];
  #isStoreHurt = false;

  constructor(lab: DockerLab, options: ChaosOptions) {
    this.#lab = lab;
    this.#options = options;
    this.#random = randomNumbers(options.seed);
    const everyName = HOSTS.flatMap(namesOn);
    this.#hosts = HOSTS.map((number) => new ChaosHost(lab, number, everyName, options.tell));
  }

  async run(): Promise<ChaosReport> {
    const { durationMs } = this.#options;
    await this.#begin();
    const addresses = new WatchedAddresses(this.#hosts.map(({ docker }) => docker.cgroup));
    try {
      const endMs = performance.now() + durationMs;
      while (performance.now() < endMs) await this.#round();
      await this.#finish();
    } finally {
      addresses.end();
    }
    if (addresses.duplicates.size > 0) throw new Error([...addresses.duplicates].join("\n"));
    const callMs = readCallTimes(this.#hosts.map(({ docker }) => docker.host.daemon.logFile));
    return { rounds: this.#healedMs.length, healedMs: this.#healedMs, callMs, addresses: addresses.count };
  }

  async #begin(): Promise<void> {
    const [first] = this.#hosts;
    if (first === undefined) throw new Error("there are no hosts");
    create(first.docker, NETWORK, "--subnet", SUBNET);
    for (const { docker } of this.#hosts) await until(() => networksOf(docker).includes(NETWORK));
    for (const host of this.#hosts) for (const container of host.containers) await host.create(container);
    await this.#heal();
  }

  async #round(): Promise<void> {
    const damages = [this.#draw(), ...(this.#random(2) === 0 ? [this.#draw()] : [])];
    this.#isStoreHurt = damages.some(({ on }) => on === "store");
    const hosts = this.#shuffled(this.#hosts);
    const kinds = damages.map(({ on }) => on);
    const isTogether = kinds.includes("container") && kinds.includes("daemon") && this.#random(2) === 0;
    const context: DamageContext = {
      lab: this.#lab,
      times: this.#options.times,
      random: this.#random,
      pause,
      whileDead: (host) => this.#requireNamesGone(host, hosts, damages),
    };
    await Promise.all(
      damages.map(async (damage, at) => {
        const host = hosts[isTogether ? 0 : at];
        if (host === undefined) throw new Error("more damages than hosts");
        this.#options.tell(damage.on === "store" ? damage.title : `${host.name}: ${damage.title}`);
        await damage.run(host, context);
      }),
    );
    const startMs = performance.now();
    await this.#heal();
    this.#healedMs.push(performance.now() - startMs);
    this.#options.tell(
      `round ${this.#healedMs.length}: healed in ${Math.round(performance.now() - startMs)} ms`,
    );
  }

  /** Brings everything back, and waits until nothing is wrong. */
  async #heal(): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host.heal()));
    const endMs = performance.now() + HEAL_MS;
    let told = "";
    for (;;) {
      const problems = await problemsOf(this.#lab, this.#hosts).catch((error: Error) => [error.message]);
      if (problems.length === 0) return;
      if (problems.join() !== told)
        this.#options.tell(`not healed yet: ${problems.join("; ")}`.slice(0, 600));
      told = problems.join();
      if (performance.now() > endMs)
        throw new Error(`not healed within ${HEAL_MS} ms: ${problems.join("; ")}`);
      await pause(500);
    }
  }

  /** The names of a dead host's containers are gone on other hosts, unless these cannot know. */
  async #requireNamesGone(
    dead: ChaosHost,
    hosts: readonly ChaosHost[],
    damages: readonly Damage[],
  ): Promise<void> {
    const isLong = this.#options.times.hostDeadMs >= NAMES_GONE_MS;
    const witness = hosts[damages.length];
    if (!isLong || this.#isStoreHurt || witness === undefined) return;
    const names = dead.containers.map(({ name }) => name);
    const gone = await unresolvedFrom(witness, names);
    if (gone.length < names.length)
      throw new Error(
        `${dead.name} is dead, and ${witness.name} resolves its containers: ${names} but ${gone}`,
      );
  }

  /** Nothing is left of the containers and of the network. */
  async #finish(): Promise<void> {
    for (const { docker, containers } of this.#hosts)
      await docker.attempt("rm", "--force", ...containers.map(({ name }) => name));
    const [first] = this.#hosts;
    if (first === undefined) throw new Error("there are no hosts");
    await until(() => outcomeOf(first.docker, "network", "rm", NETWORK).ok, 30_000);
    for (const { docker } of this.#hosts) {
      await until(() => networksOf(docker).length === 0, 30_000);
      await until(() => !/\bt[pcbv]-/.test(docker.host.run("ip", "-o", "link")), 30_000);
      await until(() => !docker.host.run("nft", "list", "ruleset").includes("10.9.0."), 30_000);
    }
    const { etcd, prefix } = this.#lab.net;
    for (const folder of ["addresses", "members", "wanted"])
      await until(
        () => etcd.ctl("get", "--prefix", "--keys-only", `${prefix}/tulle/named/${folder}/`) === "",
        30_000,
      );
  }

  /** From a shuffled deck of all, so that a run of a few minutes has had each. */
  #draw(): Damage {
    const { only } = this.#options;
    if (this.#deck.length === 0)
      this.#deck = this.#shuffled(DAMAGES.filter(({ title }) => only === undefined || only.includes(title)));
    const damage = this.#deck.pop();
    if (damage === undefined) throw new Error(`no damage is called ${only?.join(" or ")}`);
    return damage;
  }

  #shuffled<T>(values: readonly T[]): T[] {
    const left = [...values];
    return values.flatMap(() => left.splice(this.#random(left.length), 1));
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
