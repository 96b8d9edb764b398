/** The prober of one network: makes its sockets, and follows what the network's peers are. */

import type { Uplink } from "../../backends/backend.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { mapFamilies, type PerFamily } from "../../ipam/addresses/ip.ts";
import { type Clock, Sleep } from "../../ipam/clock.ts";
import { TulleError } from "../../ipam/errors.ts";
import { type Faults, guarded } from "../../ipam/faults.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import type { Logger } from "../../ipam/log.ts";
import { type EchoLines, openEchoLines } from "./echo-lines.ts";
import { FactsReader } from "./local-facts.ts";
import { type PathHealth, Prober } from "./prober.ts";
import type { TargetList } from "./target-list.ts";
import { type ProbedBackend, probeTargets } from "./targets.ts";
import { probeTcp } from "./tcp-probe.ts";
import { readUses } from "./usage.ts";

/** What is probed, at this moment. */
export interface ProbedNetwork {
  readonly backend: ProbedBackend;
  readonly uplinks: PerFamily<Pick<Uplink, "interface">>;
  readonly peers: ReadonlyMap<LeaseKey, Lease>;
  /** Our lease's. */
  readonly ownKey: LeaseKey;
  /** Null for a host without a known name. */
  readonly hostNameOf: (peer: Lease) => string | null;
}

/** What is counted. */
export interface ProbeMetrics {
  noteProbe(isLost: boolean): void;
  /** Of an answer through the tunnel. */
  noteRoundTrip(milliseconds: number): void;
  /** How many paths are proven to be broken, by cause. */
  setBrokenPaths(counts: ReadonlyMap<string, number>): void;
}

export interface NetworkProberOptions {
  readonly runtime: {
    readonly clock: Clock;
    readonly logger: Logger;
    readonly faults: Faults;
    readonly netlink: NetlinkConnection;
  };
  readonly metrics: ProbeMetrics;
  /** Packets per second for all peers together. */
  readonly perSecond: number;
  readonly network: () => ProbedNetwork;
  /** Others of this daemon that probe the same targets. */
  readonly beside?: {
    /** When they probed a target last. */
    probedMs(id: string): number;
    /** These targets are in use. */
    noteBusy(ids: ReadonlySet<string>): void;
  } | null;
  /** A path became good or bad, its cause changed, or it is no longer probed. */
  readonly onChange: () => void;
}

/** What there is to probe, for a program that does it on its own. */
export function targetList(network: Omit<ProbedNetwork, "ownKey">): TargetList {
  const targets = probeTargets(network.peers.values(), network.backend);
  return {
    targets,
    devices: network.backend.devices,
    interfaces: mapFamilies(network.uplinks, (uplink) => uplink.interface),
    hostNames: Object.fromEntries(
      [...network.peers.values()].flatMap((peer) => {
        const name = network.hostNameOf(peer);
        return name === null ? [] : [[peer.key, name] as const];
      }),
    ),
  };
}

const LEAST_USE_INTERVAL_MS = 1_000;
/** One look takes about a two-hundredth of the time. */
const USE_SLEEP_FACTOR = 200;

/** Changes that follow each other this closely are taken together. */
const SETTLE_MS = 200;

export class NetworkProber {
  readonly #options: NetworkProberOptions;
  readonly #echo: EchoLines | null;
  readonly #prober: Prober;
  readonly #sleep: Sleep;
  /** Why nothing is probed, one sentence; null when it is. */
  readonly problem: string | null;
  #isStale = true;

  constructor(options: NetworkProberOptions) {
    const { runtime, metrics, network } = options;
    const { clock, netlink } = runtime;
    this.#options = options;
    this.#sleep = new Sleep(clock);
    const now = (): number => clock.monotonicMs();
    const { echo, problem } = openOrExplain(now);
    this.#echo = echo;
    this.problem = problem;
    const facts = new FactsReader({
      netlink,
      devices: () => network().backend.devices,
      interfaces: () => mapFamilies(network().uplinks, (uplink) => uplink.interface),
    });
    this.#prober = new Prober({
      ...runtime,
      perSecond: options.perSecond,
      lines: echo?.lines ?? {},
      probeTcp: (target, settle) => probeTcp(target, now, settle),
      factsOf: (target) => facts.read(target),
      askLink: (target) => facts.askLink(target),
      hostNameOf: (key) => {
        const { peers, hostNameOf } = options.network();
        const peer = peers.get(key);
        return peer === undefined ? null : hostNameOf(peer);
      },
      onRoundTrip: (roundTripMs) => metrics.noteRoundTrip(roundTripMs),
      onProbe: (isLost) => metrics.noteProbe(isLost),
      onChange: () => this.#reportChange(),
      alsoProbedMs: (id) => options.beside?.probedMs(id) ?? Number.NEGATIVE_INFINITY,
    });
  }

  /** Peers, backend or interface have changed. */
  changed(): void {
    this.#isStale = true;
    this.#sleep.wake();
  }

  health(peer: LeaseKey): PathHealth {
    return this.#prober.health(peer);
  }

  /** Probes until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#prober.run(signal), this.#followPeers(signal), this.#followUse(signal)]);
  }

  /** Call it once, after run() has ended. */
  close(): void {
    this.#echo?.close();
  }

  #reportChange(): void {
    this.#countBroken();
    this.#options.onChange();
  }

  #countBroken(): void {
    const counts = new Map<string, number>();
    for (const peer of this.#options.network().peers.keys()) {
      const { cause } = this.#prober.health(peer);
      if (cause !== null) counts.set(cause.code, (counts.get(cause.code) ?? 0) + 1);
    }
    this.#options.metrics.setBrokenPaths(counts);
  }

  /** Looks for peers in use, at a small part of a processor's time however many entries there are. */
  async #followUse(signal: AbortSignal): Promise<void> {
    const { runtime, network } = this.#options;
    const { clock, faults, netlink } = runtime;
    let intervalMs = LEAST_USE_INTERVAL_MS;
    const look = guarded(faults, "looking for peers in use", () => {
      const { backend, uplinks } = network();
      const interfaces = Object.values(uplinks).map((uplink) => uplink.interface);
      const startMs = clock.monotonicMs();
      const uses = readUses(netlink, backend.devices, interfaces, startMs);
      // An answer to a probe of the peer must not look like continuous use: two looks between two probes.
      const busy = this.#prober.noteUses(uses, 2 * intervalMs);
      this.#options.beside?.noteBusy(busy);
      intervalMs = Math.max(LEAST_USE_INTERVAL_MS, (clock.monotonicMs() - startMs) * USE_SLEEP_FACTOR);
    });
    while (!signal.aborted) {
      look();
      await clock.sleep(intervalMs, signal).catch(() => undefined);
    }
  }

  async #followPeers(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#isStale) {
        this.#isStale = false;
        const { peers, backend, ownKey } = this.#options.network();
        this.#prober.setTargets(probeTargets(peers.values(), backend), ownKey);
        this.#reportChange();
        await this.#options.runtime.clock.sleep(SETTLE_MS, signal).catch(() => undefined);
      } else await this.#sleep.for(LONG_MS, signal);
    }
  }
}

/** Until it is woken. */
const LONG_MS = 3_600_000;

function openOrExplain(now: () => number): {
  readonly echo: EchoLines | null;
  readonly problem: string | null;
} {
  try {
    return { echo: openEchoLines(now), problem: null };
  } catch (error) {
    if (!(error instanceof TulleError)) throw error;
    return { echo: null, problem: `the paths to peers are not probed: ${error.message}` };
  }
}
