/**
 * Peers that vanished from the store: who goes at once, who stays a while, and who is held.
 *
 * A peer that leaves alone goes at once. When more leave within a second, they stay until it can be told whether they
 * are many: more than half of at least four peers is more often a fault of the store than the truth, so all of that
 * second are held, those that had gone already included, for as long as configured.
 *
 * After an outage of the store even a single departure proves nothing: leases ran out because nobody could renew them,
 * and their hosts need a moment to come back. Whoever vanishes then is held for that moment, and nobody is let go while
 * the store is away. No I/O; time is given.
 */

import type { Lease, LeaseKey } from "./lease.ts";

const WINDOW_MS = 1000;
/** Fewer peers than this may all leave at once. */
const MIN_PEERS = 4;
/** One peer in so many, and one in any case, may leave each second without waiting. */
const PEERS_PER_QUICK_LEAVE = 16;
/** A host asks for its lost lease every 2 s, once it has found the store again; some tries may be in vain. */
const AFTER_OUTAGE_MS = 12_000;

/** Until it can be told how many leave, until hosts could be back after an outage, or for the hold-down. */
type Stay = "window" | "outage" | "hold-down";

interface Departure {
  /** Monotonic milliseconds of the disappearance. */
  readonly sinceMs: number;
  readonly stay: Stay;
}

export class Departures {
  readonly #stayMs: Readonly<Record<Stay, number>>;
  /** Until then a departure proves nothing, and nobody is let go: Infinity while the store is away. */
  #doubtUntilMs = Number.NEGATIVE_INFINITY;
  readonly #departed = new Map<LeaseKey, Departure>();
  /** Those that went at once within the last second. */
  readonly #gone = new Map<LeaseKey, { readonly lease: Lease; readonly sinceMs: number }>();

  /** `holdDownMs` 0 switches all of it off. */
  constructor(holdDownMs: number) {
    this.#stayMs = {
      window: WINDOW_MS,
      outage: Math.min(AFTER_OUTAGE_MS, holdDownMs),
      "hold-down": holdDownMs,
    };
  }

  /** Those that stay for longer than it takes to count them. */
  get held(): readonly LeaseKey[] {
    return [...this.#departed].flatMap(([key, { stay }]) => (stay === "window" ? [] : [key]));
  }

  get isEmpty(): boolean {
    return this.#departed.size === 0;
  }

  has(key: LeaseKey): boolean {
    return this.#departed.has(key);
  }

  /** The store cannot be followed any more. */
  storeLost(): void {
    this.#doubtUntilMs = Number.POSITIVE_INFINITY;
  }

  /** The store can be followed again. */
  storeFound(nowMs: number): void {
    this.#doubtUntilMs = nowMs + this.#stayMs.outage;
  }

  /** The store has not answered of late, though it seems that it can be followed. */
  doubt(nowMs: number): void {
    this.#doubtUntilMs = Math.max(this.#doubtUntilMs, nowMs + this.#stayMs.outage);
  }

  /** The peer vanished, one of `peerCount` in use. Answers false when it goes at once. */
  add(lease: Lease, nowMs: number, peerCount: number): boolean {
    if (this.#stayMs["hold-down"] <= 0) return false;
    if (this.has(lease.key)) return true;
    this.#forgetGone(nowMs);
    const isDoubtful = nowMs < this.#doubtUntilMs;
    if (!isDoubtful && this.#mayGoAtOnce(peerCount)) {
      this.#gone.set(lease.key, { lease, sinceMs: nowMs });
      return false;
    }
    this.#departed.set(lease.key, { sinceMs: nowMs, stay: isDoubtful ? "outage" : "window" });
    return true;
  }

  /** It is back, or somebody else has its place. */
  cancel(key: LeaseKey): void {
    this.#departed.delete(key);
    this.#gone.delete(key);
  }

  /**
   * Holds all that left when too many vanished within the second, and answers those of them that had gone already:
   * they are to be put back. `peerCount` counts every peer in use, those that are leaving or held included.
   */
  judge(peerCount: number, nowMs: number): readonly Lease[] {
    this.#forgetGone(nowMs);
    const recent = [...this.#departed].filter(([, { sinceMs }]) => sinceMs + WINDOW_MS > nowMs);
    // Those of the same second count on both sides, or the last few of a mass would pass for a few.
    const before = peerCount + this.#gone.size - (this.#departed.size - recent.length);
    const vanished = recent.length + this.#gone.size;
    if (before < MIN_PEERS || vanished * 2 <= before) return [];
    const gone = [...this.#gone.values()];
    for (const { lease, sinceMs } of gone) this.#departed.set(lease.key, { sinceMs, stay: "hold-down" });
    for (const [key, { sinceMs }] of recent) this.#departed.set(key, { sinceMs, stay: "hold-down" });
    this.#gone.clear();
    return gone.map(({ lease }) => lease);
  }

  /** Takes out those whose time is over. */
  expire(nowMs: number): LeaseKey[] {
    const over = [...this.#departed].filter(([, departure]) => this.#endMs(departure) <= nowMs);
    for (const [key] of over) this.cancel(key);
    return over.map(([key]) => key);
  }

  /** When expire() has something to do; Infinity when nobody is leaving or held, or the store is away. */
  get nextDeadlineMs(): number {
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const departure of this.#departed.values())
      earliestMs = Math.min(earliestMs, this.#endMs(departure));
    return earliestMs;
  }

  #endMs({ sinceMs, stay }: Departure): number {
    return Math.max(sinceMs + this.#stayMs[stay], this.#doubtUntilMs);
  }

  /** While others are held it takes the window to tell, too. */
  #mayGoAtOnce(peerCount: number): boolean {
    const others = this.#departed.size + this.#gone.size;
    return others < Math.max(1, Math.floor(peerCount / PEERS_PER_QUICK_LEAVE));
  }

  #forgetGone(nowMs: number): void {
    for (const [key, { sinceMs }] of this.#gone) if (sinceMs + WINDOW_MS <= nowMs) this.#gone.delete(key);
  }
}
