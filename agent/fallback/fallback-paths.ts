/**
 * Keeps paths to peers alive: proves both ways to each peer that has a fall-back, and says by which its packets go.
 *
 * Connects the parts: pair-plan.ts says what is probed and decides, an echo line and the fall-back's runner carry the
 * probes. Which peers are on the fall-back is `Diversions`, which the backend's plan reads.
 */

import type { BackendRunner } from "../../backends/backend.ts";
import type { MixedBackend } from "../../backends/mixed.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { ENODEV, NetlinkError } from "../../backends/netlink/errors.ts";
import { decodeLink, encodeGetLink, type Link } from "../../backends/netlink/link/link.ts";
import { entriesOf, FAMILIES, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import { type Clock, pause } from "../../ipam/clock.ts";
import { TulleError } from "../../ipam/errors.ts";
import { type Faults, guarded } from "../../ipam/faults.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import type { Logger } from "../../ipam/log.ts";
import { DEAF } from "../probes/echo-line.ts";
import { type EchoLines, openEchoLines } from "../probes/echo-lines.ts";
import { targetId } from "../probes/targets.ts";
import type { Diversions } from "./diversions.ts";
import { PairPlan } from "./pair-plan.ts";
import { AT_START, resumed } from "./path-choice.ts";
import type { PairTarget, PathPair, Way } from "./path-pair.ts";

/** What there is to watch, at this moment. */
export interface FallbackNetwork {
  readonly backend: Pick<MixedBackend, "fallback" | "fallbackTo" | "mtuBytes">;
  readonly peers: ReadonlyMap<LeaseKey, Lease>;
  /** This host's subnets. */
  readonly own: PerFamily<Prefix>;
  /** Of the fall-back; null while it does not run. */
  readonly runner: BackendRunner | null;
}

export interface FallbackMetrics {
  /** Peers whose packets go by the fall-back. */
  setFallbackPeers(count: number): void;
  noteFallbackMove(to: Way): void;
}

export interface FallbackPathsOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly faults: Faults;
  readonly netlink: NetlinkConnection;
  readonly metrics: FallbackMetrics;
  /** Packets per second for all peers together. */
  readonly perSecond: number;
  readonly diversions: Diversions;
  readonly network: () => FallbackNetwork;
  /** Null where it is not known. */
  readonly hostNameOf: (peer: LeaseKey) => string | null;
  /** Packets to these peers take another way from now on. */
  readonly onMove: (peers: ReadonlySet<LeaseKey>) => void;
}

/** How a peer is reached, for the status. */
export interface FallbackState {
  /** Of the families the one that has been on the fall-back longest; null where none is. */
  readonly sinceMs: number | null;
  /** Neither path answers. */
  readonly isCutOff: boolean;
  /** The fall-back would not help if the tunnel failed. */
  readonly isReserveSilent: boolean;
}

const TICK_MS = 50;
/** A device that is made again has another index. */
const INDEX_KEPT_MS = 1_000;
const BUSY_MS = 60_000;
/** Changes that follow each other this closely are taken together. */
const SETTLE_MS = 500;

export class FallbackPaths {
  readonly #options: FallbackPathsOptions;
  readonly #plan: PairPlan;
  readonly #echo: EchoLines | null;
  readonly #indexes = new Map<string, { readonly index: number | null; readonly readMs: number }>();
  /** Why nothing is watched, one sentence; null when it is. */
  readonly problem: string | null;
  readonly #busyUntilMs = new Map<string, number>();
  readonly #targets = new TargetCache();
  #isStale = true;
  #followedMs = Number.NEGATIVE_INFINITY;
  #moved = new Set<LeaseKey>();

  constructor(options: FallbackPathsOptions) {
    this.#options = options;
    const nowMs = (): number => options.clock.monotonicMs();
    const { echo, problem } = openOrExplain(nowMs);
    this.#echo = echo;
    this.problem = problem;
    this.#plan = new PairPlan({
      perSecond: options.perSecond,
      nowMs,
      send: (target, way, onAnswer) => this.#send(target, way, onAnswer),
      onMove: (pair) => this.#note(pair),
    });
  }

  /** Peers or backend have changed. */
  changed(): void {
    this.#isStale = true;
  }

  /**
   * These targets are in use, by their ids. Probes of one that is probed as often as those in use can hide its use, so
   * each counts for a while.
   */
  noteBusy(ids: ReadonlySet<string>): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const id of ids) this.#busyUntilMs.set(id, nowMs + BUSY_MS);
    for (const [id, untilMs] of this.#busyUntilMs) if (untilMs < nowMs) this.#busyUntilMs.delete(id);
    this.#plan.setBusy(new Set(this.#busyUntilMs.keys()));
  }

  /** When the tunnel of a target was probed last. */
  probedMs(id: string): number {
    return this.#plan.probedMs(id);
  }

  stateOf(peer: LeaseKey, nowMs: number): FallbackState {
    const pairs = FAMILIES.flatMap((family) => this.#plan.pairs.get(targetId(peer, family)) ?? []);
    const since = pairs.flatMap(({ choice }) => (choice.by === "fallback" ? [choice.sinceMs] : []));
    return {
      sinceMs: since.length === 0 ? null : Math.min(...since),
      isCutOff: pairs.some((pair) => pair.isCutOff(nowMs)),
      isReserveSilent: pairs.some((pair) => pair.isReserveSilent(nowMs)),
    };
  }

  /** Watches until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, faults } = this.#options;
    const tick = guarded(faults, "watching both paths to peers", () => this.#tick());
    while (!signal.aborted) {
      if (this.problem === null) tick();
      await pause(clock, TICK_MS, signal);
    }
  }

  /** Call it once, after run() has ended. */
  close(): void {
    this.#echo?.close();
  }

  #tick(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#isStale && nowMs - this.#followedMs >= SETTLE_MS) this.#follow(nowMs);
    // After a pause of this process, what arrived meanwhile comes before any judgement.
    for (const line of Object.values(this.#echo?.lines ?? {})) line.receive();
    this.#echo?.expire();
    this.#plan.step();
    this.#carryOut();
  }

  #follow(nowMs: number): void {
    this.#isStale = false;
    this.#followedMs = nowMs;
    const { diversions, network, metrics } = this.#options;
    const { backend, peers, own } = network();
    const targets = [...peers.values()].flatMap((lease) => this.#targets.of(lease, backend, own));
    this.#plan.setTargets(targets, ({ peer, family }) =>
      diversions.has(peer, family) ? resumed(nowMs) : AT_START,
    );
    const watched = new Set(targets.map(({ id }) => id));
    for (const peer of diversions.keepOnly(watched)) this.#moved.add(peer);
    metrics.setFallbackPeers(diversions.peers.size);
  }

  #note({ target, choice, tunnel }: PathPair): void {
    const { logger, metrics, diversions, clock } = this.#options;
    const { peer, family } = target;
    const nowMs = clock.monotonicMs();
    diversions.set(peer, family, choice.by === "fallback");
    this.#moved.add(peer);
    metrics.noteFallbackMove(choice.by);
    const host = this.#options.hostNameOf(peer);
    const fields = { peer, ...(host === null ? {} : { host }), family: `IPv${family}` };
    if (choice.by === "fallback") {
      const silentMs = Math.round(nowMs - (tunnel.silentSinceMs ?? nowMs));
      logger.warn("the tunnel to a peer fails; packets go by the fall-back", { ...fields, silentMs });
    } else logger.info("packets to a peer go through the tunnel again", fields);
  }

  #carryOut(): void {
    if (this.#moved.size === 0) return;
    const { metrics, diversions, onMove } = this.#options;
    const moved = this.#moved;
    this.#moved = new Set();
    metrics.setFallbackPeers(diversions.peers.size);
    onMove(moved);
  }

  #send({ peer, family, inner, source, device, mtuBytes }: PairTarget, way: Way, onAnswer: () => void): void {
    if (way === "fallback") {
      this.#options.network().runner?.probe?.(peer, family, mtuBytes, onAnswer);
      return;
    }
    const interfaceIndex = this.#indexOf(device);
    if (interfaceIndex === null) return; // without its device the tunnel is silent
    const settle = ({ type }: { readonly type: string }): void => {
      if (type === "answered") onAnswer();
    };
    this.#echo?.lines[family]?.send(inner, mtuBytes, settle, { egress: { interfaceIndex, source } });
  }

  #indexOf(device: string): number | null {
    const { clock, netlink } = this.#options;
    const nowMs = clock.monotonicMs();
    const known = this.#indexes.get(device);
    if (known !== undefined && nowMs - known.readMs < INDEX_KEPT_MS) return known.index;
    const index = readIndex(netlink, device);
    this.#indexes.set(device, { index, readMs: nowMs });
    return index;
  }
}

/** The targets that a lease is, asked of the backend once for each. */
class TargetCache {
  #known = new WeakMap<Lease, readonly PairTarget[]>();
  #backend: FallbackNetwork["backend"] | null = null;
  #own: FallbackNetwork["own"] | null = null;

  of(lease: Lease, backend: FallbackNetwork["backend"], own: FallbackNetwork["own"]): readonly PairTarget[] {
    if (backend !== this.#backend || own !== this.#own) this.#known = new WeakMap();
    [this.#backend, this.#own] = [backend, own];
    const known = this.#known.get(lease) ?? targetsOf(lease, backend, own);
    this.#known.set(lease, known);
    return known;
  }
}

/** The families of a peer in which both ways lead to it. */
function targetsOf(
  lease: Lease,
  backend: FallbackNetwork["backend"],
  own: FallbackNetwork["own"],
): readonly PairTarget[] {
  return entriesOf(backend.fallbackTo(lease)).flatMap(([family, device]) => {
    const subnet = lease.subnets[family];
    const source = own[family]?.base;
    if (subnet === undefined || source === undefined) return [];
    // The fall-back's device carries the subnet's first address, whatever the tunnel is.
    const { key: peer } = lease;
    return [
      {
        id: targetId(peer, family),
        peer,
        family,
        inner: subnet.base,
        source,
        device,
        mtuBytes: backend.mtuBytes,
      },
    ];
  });
}

function readIndex(netlink: NetlinkConnection, name: string): number | null {
  try {
    const link: Link = netlink.get(encodeGetLink({ name }), decodeLink);
    return link.index;
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === ENODEV) return null;
    throw error;
  }
}

function openOrExplain(nowMs: () => number): {
  readonly echo: EchoLines | null;
  readonly problem: string | null;
} {
  try {
    return { echo: openEchoLines(nowMs, DEAF), problem: null };
  } catch (error) {
    if (!(error instanceof TulleError)) throw error;
    return { echo: null, problem: `no peer is moved to the fall-back: ${error.message}` };
  }
}
