/**
 * Watches the paths to all peers that have a fall-back, within a budget of packets that does not grow with their number.
 * Sends nothing itself.
 *
 * The few pairs in doubt and those on the fall-back come first, then those to which packets are sent, then all others in
 * turn.
 */

import { AT_START, type Course } from "./course.ts";
import { type PairTarget, PathPair, type Way } from "./path-pair.ts";

export interface PairPlanOptions {
  /** Packets per second for all pairs together. */
  readonly perSecond: number;
  /** Sends a probe; `onAnswer` may be called once. */
  readonly send: (target: PairTarget, way: Way, onAnswer: () => void) => void;
  /** Monotonic, in milliseconds. */
  readonly nowMs: () => number;
  /** Packets of this pair take the other way. */
  readonly onMove: (pair: PathPair) => void;
}

/** Of pairs in use, while the budget suffices. */
const DENSE_MS = 750;
/** Of all others, once it does not suffice for all. */
const IDLE_MS = 5_000;
/** Parts of the budget; the rest is for pairs in doubt. */
const DENSE_SHARE = 0.6;
const IDLE_SHARE = 0.2;
/** Packets that may follow each other at once: faults concern many pairs at one moment. */
const BURST = 40;
/** Idle pairs that are looked at in one step. */
const LOOKS = 64;

export class PairPlan {
  readonly #options: PairPlanOptions;
  #pairs: ReadonlyMap<string, PathPair> = new Map();
  #order: readonly PathPair[] = [];
  #busy: ReadonlySet<string> = new Set();
  #at = 0;
  #tokens = BURST;
  #refilledMs: number | null = null;

  constructor(options: PairPlanOptions) {
    this.#options = options;
  }

  get pairs(): ReadonlyMap<string, PathPair> {
    return this.#pairs;
  }

  /** Replaces all targets. A pair keeps its course, and what is known of it as long as its target stays as it was. */
  setTargets(
    targets: readonly PairTarget[],
    courseOf: (target: PairTarget) => Course = () => AT_START,
  ): void {
    const former = this.#pairs;
    this.#pairs = new Map(
      targets.map((target) => {
        const before = former.get(target.id);
        if (before !== undefined && isSameTarget(before.target, target)) return [target.id, before];
        return [target.id, new PathPair(target, before?.course ?? courseOf(target))];
      }),
    );
    this.#order = [...this.#pairs.values()];
  }

  /** Those that packets of this host are sent to. */
  setBusy(ids: ReadonlySet<string>): void {
    this.#busy = ids;
  }

  /** When the tunnel of a pair was probed last. */
  probedMs(id: string): number {
    return this.#pairs.get(id)?.tunnel.sentMs ?? Number.NEGATIVE_INFINITY;
  }

  /** Decides, and sends what is due. To be called about 20 times a second, after what has arrived was taken. */
  step(): void {
    const nowMs = this.#options.nowMs();
    this.#refill(nowMs);
    const active = this.#order.filter((pair) => pair.isActive);
    for (const pair of active) if (pair.decide(nowMs)) this.#options.onMove(pair);
    for (const pair of active) this.#probe(pair, nowMs);
    for (const id of this.#busy) {
      const pair = this.#pairs.get(id);
      if (pair !== undefined && !pair.isActive) this.#probe(pair, nowMs);
    }
    for (let looks = Math.min(LOOKS, this.#order.length); looks > 0; looks--) {
      this.#at = (this.#at + 1) % this.#order.length;
      const pair = this.#order[this.#at];
      if (pair !== undefined && !pair.isActive) this.#probe(pair, nowMs);
    }
  }

  #refill(nowMs: number): void {
    const { perSecond } = this.#options;
    const elapsedMs = this.#refilledMs === null ? 0 : nowMs - this.#refilledMs;
    this.#refilledMs = nowMs;
    this.#tokens = Math.min(BURST, this.#tokens + (elapsedMs * perSecond) / 1000);
  }

  #probe(pair: PathPair, nowMs: number): void {
    for (const way of pair.due(nowMs, this.#calmMs(pair))) {
      if (this.#tokens < 1) return;
      this.#tokens -= 1;
      const path = pair[way];
      path.noteSent(nowMs);
      this.#options.send(pair.target, way, () => path.noteAnswer(nowMs, this.#options.nowMs()));
    }
  }

  /** Between two probes of a path that works. */
  #calmMs({ target: { id } }: PathPair): number {
    const { perSecond } = this.#options;
    const spacingMs = (count: number, share: number): number => (count * 1000) / (perSecond * share);
    if (spacingMs(this.#order.length, DENSE_SHARE + IDLE_SHARE) <= DENSE_MS) return DENSE_MS;
    return this.#busy.has(id)
      ? Math.max(DENSE_MS, spacingMs(this.#busy.size, DENSE_SHARE))
      : Math.max(IDLE_MS, spacingMs(this.#order.length, IDLE_SHARE));
  }
}

function isSameTarget(a: PairTarget, b: PairTarget): boolean {
  return (
    a.device === b.device && a.mtuBytes === b.mtuBytes && a.inner.equals(b.inner) && a.source.equals(b.source)
  );
}
