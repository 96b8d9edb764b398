/** Both paths to one family of a peer: what is known of each, when each is probed next, and which one is taken. Pure. */

import type { Address, Family } from "../../ipam/addresses/ip.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";
import { Liveness } from "./liveness.ts";
import { AT_START, nextChoice, type PathChoice, type Verdict } from "./path-choice.ts";

/** What is probed. */
export interface PairTarget {
  /** Unique: the lease key and the family. */
  readonly id: string;
  readonly peer: LeaseKey;
  readonly family: Family;
  /** An address of the peer's host inside the network. */
  readonly inner: Address;
  /** The first address of this host's subnet, as containers' addresses lie in it. */
  readonly source: Address;
  /** By which packets leave for the tunnel. */
  readonly device: string;
  /** Largest packet of a container, in bytes. */
  readonly mtuBytes: number;
}

export type Way = "tunnel" | "fallback";

/** Between probes of a path in doubt. */
const HURRY_MS = 250;
/** Between probes of the path that is taken, and of the tunnel while it is not. */
const STEADY_MS = 1_000;
/** Between probes of the fall-back while it is not needed, and the longest for a peer that is silent altogether. */
const RESERVE_MS = 15_000;
/** A peer that has been silent for this long is probed once in a quarter of that time. */
const SILENT_SHARE = 1 / 4;
/** Probes of the tunnel that must stay unanswered while the fall-back answers: after an outage of both one comes first. */
const MISSED_MEANWHILE = 2;

export class PathPair {
  readonly target: PairTarget;
  readonly tunnel = new Liveness();
  readonly fallback = new Liveness();
  #choice: PathChoice;

  constructor(target: PairTarget, choice: PathChoice = AT_START) {
    this.target = target;
    this.#choice = choice;
  }

  get choice(): PathChoice {
    return this.#choice;
  }

  /** Whether it needs a look at every moment. */
  get isActive(): boolean {
    return (
      this.#choice.by === "fallback" ||
      this.tunnel.silentSinceMs !== null ||
      this.fallback.silentSinceMs !== null
    );
  }

  /** Whether the next probes decide by which way packets go. */
  isDoubtful(nowMs: number): boolean {
    if (this.#choice.by === "fallback") return false;
    if (this.tunnel.verdict(nowMs) === "dead") return this.fallback.verdict(nowMs) === "alive";
    return this.tunnel.overdue(nowMs) > 0;
  }

  /** Whether the tunnel is known to fail, or was until a short time ago. */
  isFailing(nowMs: number): boolean {
    return this.#choice.by === "fallback" || this.tunnel.verdict(nowMs) === "dead";
  }

  /** Neither path answers. */
  isCutOff(nowMs: number): boolean {
    return this.tunnel.verdict(nowMs) === "dead" && this.fallback.verdict(nowMs) === "dead";
  }

  /** The tunnel works, and the fall-back would not help if it failed. */
  isReserveSilent(nowMs: number): boolean {
    const { by } = this.#choice;
    return (
      by === "tunnel" && this.tunnel.verdict(nowMs) === "alive" && this.fallback.verdict(nowMs) === "dead"
    );
  }

  /** Decides by what is known now. Returns whether packets take the other way from now on. */
  decide(nowMs: number): boolean {
    const before = this.#choice;
    const verdicts = {
      tunnel: this.tunnel.verdict(nowMs),
      fallback: this.#fallbackVerdict(nowMs),
      tunnelAnsweredMs: this.tunnel.answeredMs,
    };
    this.#choice = nextChoice(before, verdicts, nowMs);
    return before.by !== this.#choice.by;
  }

  /** The paths that are to be probed now. `calmMs` is how often one is probed that works. */
  due(nowMs: number, calmMs: number): readonly Way[] {
    const { tunnel, fallback } = this.#intervals(nowMs, calmMs);
    return [
      ...(nowMs - this.tunnel.sentMs >= tunnel ? (["tunnel"] as const) : []),
      ...(nowMs - this.fallback.sentMs >= fallback ? (["fallback"] as const) : []),
    ];
  }

  #fallbackVerdict(nowMs: number): Verdict {
    const verdict = this.fallback.verdict(nowMs);
    if (verdict !== "alive" || this.#choice.by === "fallback") return verdict;
    const { silentSinceMs } = this.tunnel;
    const { answeredMs, aliveSinceMs } = this.fallback;
    if (silentSinceMs === null || answeredMs === null || answeredMs <= silentSinceMs) return "doubtful";
    const missed = this.tunnel.overdue(nowMs, aliveSinceMs ?? nowMs);
    return missed >= MISSED_MEANWHILE ? "alive" : "doubtful";
  }

  #intervals(nowMs: number, calmMs: number): Readonly<Record<Way, number>> {
    const steadyMs = Math.max(STEADY_MS, calmMs);
    if (this.#choice.by === "fallback") {
      const { fallback } = this;
      const isInDoubt = fallback.overdue(nowMs) > 0 && fallback.verdict(nowMs) !== "dead";
      return { tunnel: steadyMs, fallback: isInDoubt ? HURRY_MS : steadyMs };
    }
    const since = this.tunnel.silentSinceMs;
    // What has answered since then has proven enough.
    const isReady = since !== null && (this.fallback.answeredMs ?? 0) > since;
    if (this.isDoubtful(nowMs)) return { tunnel: HURRY_MS, fallback: isReady ? STEADY_MS : HURRY_MS };
    if (since === null || this.tunnel.verdict(nowMs) !== "dead")
      return { tunnel: calmMs, fallback: Math.max(RESERVE_MS, calmMs) };
    const rareMs = Math.min(RESERVE_MS, Math.max(STEADY_MS, (nowMs - since) * SILENT_SHARE));
    return { tunnel: rareMs, fallback: rareMs };
  }
}
