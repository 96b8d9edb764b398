/** For tests of `tulle explain`: two hosts with a container each, what explain says, and faults to name. */

import { join } from "node:path";
import { afterEach, beforeAll, expect, it } from "vitest";
import { type Container, type EtcdLab, type Host, TULLE } from "./hosts.ts";

export interface Answer {
  readonly steps: readonly { readonly subject: string; readonly text: string; readonly state: string }[];
  readonly end: {
    readonly outcome: string;
    readonly text: string;
    readonly cause: string | null;
    readonly remedy: string | null;
  };
}

/** What `tulle explain` says on a host; its exit code is 1 where the packet goes nowhere. */
export function explainOn(host: Host, ...args: readonly string[]): Answer {
  const command = [...TULLE, "explain", ...args, "--json"];
  const isDaemonNamed = args.some((arg) => arg.startsWith("--run-dir"));
  // With this machine's /run, where the namespaces of containers are.
  if (!isDaemonNamed) command.push(`--run-dir=${join(host.runDirectory, "tulle")}`);
  return JSON.parse(host.netns.exec("sh", ["-c", '"$@" || test $? = 1', "sh", ...command]));
}

export interface Fault {
  /** Shell commands on host1. SUBNET is host2's without its length, OWN is host1's, GATEWAY the tunnel's neighbour. */
  readonly commands: readonly string[];
  readonly undo: readonly string[];
  readonly outcome: string;
  readonly cause: string | null;
  readonly seen: RegExp;
}

export class Ways {
  readonly net: EtcdLab;
  subnet = "";
  own = "";
  #containers: readonly [Container, Container] | null = null;
  undo: () => void = () => undefined;

  constructor(net: EtcdLab) {
    this.net = net;
  }

  get from(): Container {
    return this.#pair[0];
  }

  get to(): Container {
    return this.#pair[1];
  }

  get #pair(): readonly [Container, Container] {
    if (this.#containers === null) throw new Error("the lab has not started");
    return this.#containers;
  }

  async start(): Promise<void> {
    const { net } = this;
    await net.startAll();
    this.#containers = [net.host(1).addContainer(), net.host(2).addContainer()];
    [this.own, this.subnet] = (await Promise.all([1, 2].map((number) => this.#subnetOf(number)))) as [
      string,
      string,
    ];
    await net
      .host(1)
      .daemon.until(
        ({ peers }) => peers.some(({ health }) => health?.state === "good"),
        "has an answer of its peer",
      );
    this.from.netns.exec("ping", ["-c1", "-W3", this.to.address]);
  }

  explain(...more: readonly string[]): Answer {
    return explainOn(this.net.host(1), this.from.address, this.to.address, ...more);
  }

  inject({ commands, undo }: Pick<Fault, "commands" | "undo">): void {
    this.undo = () => this.#sh(undo);
    this.#sh(commands);
  }

  async #subnetOf(number: number): Promise<string> {
    const status = await this.net.host(number).daemon.status();
    return status?.lease.key.split(/[-&]/)[0] ?? "";
  }

  #sh(commands: readonly string[]): void {
    for (const command of commands) {
      const filled = command.replaceAll("SUBNET", this.subnet).replaceAll("OWN", this.own);
      this.net.host(1).run("sh", "-c", filled);
    }
  }
}

export function useWays(net: EtcdLab): Ways {
  const ways = new Ways(net);
  beforeAll(() => ways.start());
  afterEach(() => {
    ways.undo();
    ways.undo = () => undefined;
  });
  return ways;
}

export function itNames(
  ways: Ways,
  faults: Readonly<Record<string, Fault>>,
  ...more: readonly string[]
): void {
  it.each(Object.entries(faults))("%s", (_, fault) => {
    ways.inject(fault);
    const { outcome, cause, seen } = fault;
    const answer = ways.explain(...more);
    expect(answer.end, JSON.stringify(answer, null, 1)).toMatchObject({ outcome, cause });
    expect(answer.end.text).toMatch(seen);
    expect(answer.end.remedy).not.toBeNull();
  });
}
