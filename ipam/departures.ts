/**
 * Peers that vanished from the store: who goes at once, who stays a while, and who is held.
 *
 * A peer that leaves alone goes at once. When more leave within a second, they stay until it can be told whether they
 * are many: more than half of at least four peers is more often a fault of the store than the truth, so all of that
 * second are held, those that had gone already included, for as long as configured. No I/O; time is given.
 */

import type { Lease, LeaseKey } from "./lease.ts";

const WINDOW_MS = 1000;
/** Fewer peers than this may all leave at once. */
const MIN_PEERS = 4;
/** One peer in so many, and one in any case, may leave each second without waiting. */
const PEERS_PER_QUICK_LEAVE = 16;

export class Departures {
  readonly #holdDownMs: number;
  /** Monotonic milliseconds of the disappearance, here and for those that are held. */
  readonly #leaving = new Map<LeaseKey, number>();
  readonly #held = new Map<LeaseKey, number>();
  /** Those that went at once within the last second. */
  readonly #gone = new Map<LeaseKey, { readonly lease: Lease; readonly sinceMs: number }>();

  /** `holdDownMs` 0 switches all of it off. */
  constructor(holdDownMs: number) {
    this.#holdDownMs = holdDownMs;
  }

  get held(): Iterable<LeaseKey> {
    return this.#held.keys();
  }

  get heldCount(): number {
    return this.#held.size;
  }

  get isEmpty(): boolean {
    return this.#leaving.size === 0 && this.#held.size === 0;
  }

  has(key: LeaseKey): boolean {
    return this.#leaving.has(key) || this.#held.has(key);
  }

  /** The peer vanished, one of `peerCount` in use. Answers false when it goes at once. */
  add(lease: Lease, nowMs: number, peerCount: number): boolean {
    if (this.#holdDownMs <= 0) return false;
    if (this.has(lease.key)) return true;
    this.#forgetGone(nowMs);
    const quick = Math.max(1, Math.floor(peerCount / PEERS_PER_QUICK_LEAVE));
    if (this.#leaving.size + this.#gone.size < quick) {
      this.#gone.set(lease.key, { lease, sinceMs: nowMs });
      return false;
    }
    this.#leaving.set(lease.key, nowMs);
    return true;
  }

  /** It is back, or somebody else has its place. */
  cancel(key: LeaseKey): void {
    this.#leaving.delete(key);
    this.#held.delete(key);
    this.#gone.delete(key);
  }

  /**
   * Holds all that left when too many vanished within the second, and answers those of them that had gone already:
   * they are to be put back. `peerCount` counts every peer in use, those that are leaving or held included.
   */
  judge(peerCount: number, nowMs: number): readonly Lease[] {
    this.#forgetGone(nowMs);
    if (this.#leaving.size + this.#gone.size === 0) return [];
    // Those of the same second count on both sides, or the last few of a mass would pass for a few.
    let heldBefore = 0;
    for (const sinceMs of this.#held.values()) if (sinceMs + WINDOW_MS <= nowMs) heldBefore += 1;
    const before = peerCount + this.#gone.size - heldBefore;
    const vanished = this.#leaving.size + this.#gone.size + this.#held.size - heldBefore;
    if (before < MIN_PEERS || vanished * 2 <= before) return [];
    const gone = [...this.#gone.values()];
    for (const { lease, sinceMs } of gone) this.#held.set(lease.key, sinceMs);
    for (const [key, sinceMs] of this.#leaving) this.#held.set(key, sinceMs);
    this.#leaving.clear();
    this.#gone.clear();
    return gone.map(({ lease }) => lease);
  }

  /** Takes out those whose time is over. */
  expire(nowMs: number): LeaseKey[] {
    const over = [
      ...[...this.#leaving].filter(([, sinceMs]) => sinceMs + WINDOW_MS <= nowMs),
      ...[...this.#held].filter(([, sinceMs]) => sinceMs + this.#holdDownMs <= nowMs),
    ].map(([key]) => key);
    for (const key of over) this.cancel(key);
    return over;
  }

  /** When expire() has something to do; null when nobody is leaving or held. */
  get nextDeadlineMs(): number | null {
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const sinceMs of this.#leaving.values()) earliestMs = Math.min(earliestMs, sinceMs + WINDOW_MS);
    for (const sinceMs of this.#held.values()) {
      earliestMs = Math.min(earliestMs, sinceMs + this.#holdDownMs);
    }
    return earliestMs === Number.POSITIVE_INFINITY ? null : earliestMs;
  }

  #forgetGone(nowMs: number): void {
    for (const [key, { sinceMs }] of this.#gone) if (sinceMs + WINDOW_MS <= nowMs) this.#gone.delete(key);
  }
}
