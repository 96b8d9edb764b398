/**
 * Peers that vanished from the store and are not let go yet.
 *
 * Each stays for a second: whoever deletes and creates a key again interrupts nothing, and only afterwards can it
 * be told whether many vanished together. More than half of at least four peers within that second is more often
 * a fault of the store than the truth, so they are held, for as long as configured. No I/O; time is given.
 */

import type { LeaseKey } from "./lease.ts";

const WINDOW_MS = 1000;
/** Fewer peers than this may all leave at once. */
const MIN_PEERS = 4;

export class Departures {
  readonly #holdDownMs: number;
  /** Monotonic milliseconds of the disappearance, here and for those that are held. */
  readonly #leaving = new Map<LeaseKey, number>();
  readonly #held = new Map<LeaseKey, number>();

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

  /** The peer vanished. Answers false when it must go at once. */
  add(key: LeaseKey, nowMs: number): boolean {
    if (this.#holdDownMs <= 0) return false;
    if (!this.has(key)) this.#leaving.set(key, nowMs);
    return true;
  }

  /** It is back, or somebody else has its place. */
  cancel(key: LeaseKey): void {
    this.#leaving.delete(key);
    this.#held.delete(key);
  }

  /**
   * Holds all that are leaving when too many vanished within the second. `peerCount` counts every peer in use,
   * those that are leaving or held included.
   */
  judge(peerCount: number, nowMs: number): void {
    if (this.#leaving.size === 0) return;
    // Those of the same second count on both sides, or the last few of a mass would pass for a few.
    let heldBefore = 0;
    for (const sinceMs of this.#held.values()) if (sinceMs + WINDOW_MS <= nowMs) heldBefore += 1;
    const before = peerCount - heldBefore;
    const vanished = this.#leaving.size + this.#held.size - heldBefore;
    if (before < MIN_PEERS || vanished * 2 <= before) return;
    for (const [key, sinceMs] of this.#leaving) this.#held.set(key, sinceMs);
    this.#leaving.clear();
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
}
