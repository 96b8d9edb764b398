/** The prober of one network: makes its sockets, and follows what the network's peers are. */

import type { Uplink } from "../../backends/backend.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { mapFamilies, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import { type Clock, pause, Sleep } from "../../ipam/clock.ts";
import { TulleError } from "../../ipam/errors.ts";
import { type Faults, guarded } from "../../ipam/faults.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import type { Logger } from "../../ipam/log.ts";
import type { CauseCode } from "./causes.ts";
import type { EchoListener } from "./echo-line.ts";
import { type EchoLines, openEchoLines } from "./echo-lines.ts";
import { FactsReader } from "./local-facts.ts";
import { LongerRoutes } from "./longer-routes.ts";
import { PathLog } from "./path-log.ts";
import { type PathHealth, Prober } from "./prober.ts";
import { probeSyn } from "./syn-probe.ts";
import type { TargetList } from "./target-list.ts";
import { type ProbedBackend, probeTargets } from "./targets.ts";
import { probeTcp } from "./tcp-probe.ts";
import { readUses } from "./usage.ts";

/** What is probed, at this moment. */
export interface ProbedNetwork {
  readonly backend: ProbedBackend;
  readonly uplinks: PerFamily<Pick<Uplink, "interface" | "address">>;
  readonly peers: ReadonlyMap<LeaseKey, Lease>;
  /** This host's own. */
  readonly subnets: PerFamily<Prefix>;
  /** Our lease's. */
  readonly ownKey: LeaseKey;
  /** Null for a host without a known name. */
  readonly hostNameOf: (peer: Lease) => string | null;
  /** Why peers send nothing to this host, one sentence; null when they do. */
  readonly membershipProblem: string | null;
}

/** The state of all paths, for metrics. */
export interface PathFigures {
  /** How many paths are proven to be broken, by cause. */
  readonly broken: ReadonlyMap<string, number>;
  /** Of the peers with the most loss and of those with the longest round trips. */
  readonly lossShares: ReadonlyMap<string, number>;
  readonly roundTripSeconds: ReadonlyMap<string, number>;
}

/** What is counted. */
export interface ProbeMetrics {
  noteProbe(isLost: boolean): void;
  /** Of an answer through the tunnel. */
  noteRoundTrip(milliseconds: number): void;
  /** Calls `read` before the metrics are shown, until the returned function is called. */
  measure(read: () => void): () => void;
  setPaths(paths: PathFigures): void;
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
  /**
   * Called when a path becomes good or bad, has another cause, or is not probed any more, and when a longer route comes or
   * goes.
   */
  readonly onChange: () => void;
}

/** What there is to probe, for a program that does it on its own. */
export function targetList(
  network: Omit<ProbedNetwork, "ownKey">,
  histories: TargetList["histories"],
): TargetList {
  const targets = probeTargets(network.peers.values(), network.backend, network.subnets);
  return {
    targets,
    devices: network.backend.devices,
    interfaces: mapFamilies(network.uplinks, (uplink) => uplink.interface),
    sources: mapFamilies(network.uplinks, (uplink) => uplink.address),
    subnets: network.subnets,
    histories,
    membershipProblem: network.membershipProblem,
    hostNames: Object.fromEntries(
      [...network.peers.values()].flatMap((peer) => {
        const name = network.hostNameOf(peer);
        return name === null ? [] : [[peer.key, name] as const];
      }),
    ),
  };
}

const LEAST_USE_INTERVAL_MS = 500;
/** One look takes about this part of the time. */
const USE_SLEEP_FACTOR = 400;
/** Peers that metrics name one by one, however many there are. */
const NAMED_PEERS = 10;

/** Changes that follow each other this closely are taken together. */
const SETTLE_MS = 200;

export class NetworkProber {
  readonly #options: NetworkProberOptions;
  readonly #echo: EchoLines | null;
  readonly #facts: FactsReader;
  readonly #longer: LongerRoutes;
  readonly #prober: Prober;
  readonly #sleep: Sleep;
  /** Lasts until the first peer comes. */
  readonly #lonely: Sleep;
  /** Why nothing is probed, one sentence; null when it is. */
  readonly problem: string | null;
  #isStale = true;

  constructor(options: NetworkProberOptions) {
    const { runtime, metrics, network } = options;
    const { clock, netlink } = runtime;
    this.#options = options;
    this.#sleep = new Sleep(clock);
    this.#lonely = new Sleep(clock);
    const now = (): number => clock.monotonicMs();
    const { echo, problem } = openOrExplain(now, {
      notice: (notice) => this.#facts.notice(notice),
      heard: (from) => this.#prober.heard(from),
    });
    this.#echo = echo;
    this.problem = problem;
    this.#facts = new FactsReader({
      netlink,
      now,
      devices: () => network().backend.devices,
      interfaces: () => mapFamilies(network().uplinks, (uplink) => uplink.interface),
      sources: () => mapFamilies(network().uplinks, (uplink) => uplink.address),
      ownSubnets: () => network().subnets,
      membershipProblem: () => network().membershipProblem,
    });
    this.#longer = new LongerRoutes({
      ...runtime,
      onChange: options.onChange,
      network: () => {
        const { uplinks, ...rest } = network();
        return { ...rest, interfaces: Object.values(uplinks).map((uplink) => uplink.interface) };
      },
    });
    const hostNameOf = (key: LeaseKey): string | null => {
      const peer = network().peers.get(key);
      return peer === undefined ? null : network().hostNameOf(peer);
    };
    const isActive = (code: CauseCode): boolean => this.#prober.isActive(code);
    const log = new PathLog({ logger: runtime.logger, now, isActive, hostNameOf });
    this.#prober = new Prober({
      ...runtime,
      onChange: (target, state) => {
        log.note(target, state);
        options.onChange();
      },
      perSecond: options.perSecond,
      lines: echo?.lines ?? {},
      probeTcp: (target, settle) => probeTcp(target, now, settle),
      probeSyn: (target, settle) => probeSyn(target, now, settle),
      inspect: (target) => this.#facts.inspect(target),
      onRoundTrip: (roundTripMs) => metrics.noteRoundTrip(roundTripMs),
      onProbe: (isLost) => metrics.noteProbe(isLost),
      alsoProbedMs: (id) => options.beside?.probedMs(id) ?? Number.NEGATIVE_INFINITY,
    });
  }

  /** Peers, backend or interface have changed. */
  changed(): void {
    this.#isStale = true;
    this.#sleep.wake();
    this.#lonely.wake();
  }

  /** What former probes of each target showed, by its id. */
  get histories(): TargetList["histories"] {
    return this.#prober.histories;
  }

  health(peer: LeaseKey): PathHealth {
    const health = this.#prober.health(peer);
    const diverted = health.cause === null ? this.#longer.causeOf(peer) : null;
    return diverted === null ? health : { ...health, state: "bad", cause: diverted };
  }

  /** Probes until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    const { metrics } = this.#options;
    const endMeasuring = metrics.measure(() => metrics.setPaths(this.#figures()));
    try {
      await Promise.all([
        this.#prober.run(signal),
        this.#followPeers(signal),
        this.#followUse(signal),
        this.#longer.run(signal),
      ]);
    } finally {
      endMeasuring();
      metrics.setPaths({ broken: new Map(), lossShares: new Map(), roundTripSeconds: new Map() });
    }
  }

  /** Call it once, after run() has ended. */
  close(): void {
    this.#echo?.close();
    this.#facts.close();
  }

  #figures(): PathFigures {
    const broken = new Map<string, number>();
    const lossShares: [string, number][] = [];
    const roundTripSeconds: [string, number][] = [];
    for (const peer of this.#options.network().peers.keys()) {
      const { cause, lossShare, roundTripMs } = this.health(peer);
      if (cause !== null) broken.set(cause.code, (broken.get(cause.code) ?? 0) + 1);
      if (lossShare !== null && lossShare > 0) lossShares.push([peer, lossShare]);
      if (roundTripMs !== null) roundTripSeconds.push([peer, roundTripMs / 1000]);
    }
    return { broken, lossShares: greatest(lossShares), roundTripSeconds: greatest(roundTripSeconds) };
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
      const uses = readUses(netlink, backend.devices, interfaces, {
        nowMs: startMs,
        recentMs: 2 * intervalMs,
      });
      // An answer to a probe of the peer must not look like continuous use: two looks between two probes.
      const busy = this.#prober.noteUses(uses, 2 * intervalMs);
      this.#options.beside?.noteBusy(busy);
      intervalMs = Math.max(LEAST_USE_INTERVAL_MS, (clock.monotonicMs() - startMs) * USE_SLEEP_FACTOR);
    });
    while (!signal.aborted) {
      if (network().peers.size > 0) {
        look();
        await pause(clock, intervalMs, signal);
      } else await this.#lonely.for(LONG_MS, signal);
    }
  }

  async #followPeers(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#isStale) {
        this.#isStale = false;
        const { peers, backend, subnets, ownKey } = this.#options.network();
        this.#prober.setTargets(probeTargets(peers.values(), backend, subnets), ownKey);
        this.#options.onChange();
        await pause(this.#options.runtime.clock, SETTLE_MS, signal);
      } else await this.#sleep.for(LONG_MS, signal);
    }
  }
}

/** Until it is woken. */
const LONG_MS = 3_600_000;

function greatest(values: readonly (readonly [string, number])[]): ReadonlyMap<string, number> {
  return new Map(values.toSorted(([, left], [, right]) => right - left).slice(0, NAMED_PEERS));
}

function openOrExplain(
  now: () => number,
  listener: EchoListener,
): {
  readonly echo: EchoLines | null;
  readonly problem: string | null;
} {
  try {
    return { echo: openEchoLines(now, listener), problem: null };
  } catch (error) {
    if (!(error instanceof TulleError)) throw error;
    return { echo: null, problem: `the paths to peers are not probed: ${error.message}` };
  }
}
