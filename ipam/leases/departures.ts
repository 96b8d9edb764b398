/**
 * Peers that vanished from the store: how long each is kept in use.
 *
 * A single peer stays for the leave grace: its lease may be put back at once, as after a Consul session was invalidated
 * or a key was deleted by mistake. When more than half of at least four peers vanish within that time, a fault of the
 * store is more likely than their departure, and all of them stay for the hold-down.
 *
 * After an outage of the store leases expire because no host could renew them, and the hosts need a moment to write
 * them again. While the store is unreachable no peer is removed. No I/O; the caller passes the time.
 */

import type { Lease, LeaseKey } from "./lease.ts";

export interface DepartureTimes {
  /** How long a single peer is kept; 0 removes it with the message that says so. */
  readonly leaveGraceMs: number;
  /** How long a mass of peers is kept; 0 switches that off, and the stay after an outage. */
  readonly holdDownMs: number;
}

/** A peer that vanished from the store and is kept because the store may be at fault. */
export interface HeldPeer {
  readonly lease: Lease;
  /** Monotonic milliseconds. */
  readonly untilMs: number;
}

/** A peer that a former run of this host knew; `untilMs` is null where it is in the store. */
export interface KnownPeer {
  readonly lease: Lease;
  /** Monotonic milliseconds; Infinity to keep it as long as one that vanishes now. */
  readonly untilMs: number | null;
}

/** Fewer peers than this may all leave at once. */
const MIN_PEERS = 4;
/** A host asks for its lost lease every 2 s, once it has found the store again; some tries may fail. */
const AFTER_OUTAGE_MS = 12_000;

const MIN_WINDOW_MS = 1000;

/** Whether so many of `before` peers vanished at once that a fault of the store is more likely than their departure. */
export function isMass(vanished: number, before: number): boolean {
  return before >= MIN_PEERS && vanished * 2 > before;
}

/** Alone, after an outage of the store, or as one of many. */
type Stay = "grace" | "outage" | "hold-down";

interface Departure {
  /** Monotonic milliseconds of the disappearance. */
  readonly sinceMs: number;
  readonly stay: Stay;
}

export class Departures {
  readonly #stayMs: Readonly<Record<Stay, number>>;
  /** Until then no peer is removed, because its lease may be written again: Infinity while the store is unreachable. */
  #suspectUntilMs = Number.NEGATIVE_INFINITY;
  readonly #departed = new Map<LeaseKey, Departure>();

  constructor({ leaveGraceMs, holdDownMs }: DepartureTimes) {
    this.#stayMs = {
      grace: leaveGraceMs,
      outage: Math.max(leaveGraceMs, Math.min(AFTER_OUTAGE_MS, holdDownMs)),
      "hold-down": Math.max(leaveGraceMs, holdDownMs),
    };
  }

  /** Those that stay because the store may be faulty. */
  get held(): readonly LeaseKey[] {
    return [...this.#departed].flatMap(([key, { stay }]) => (stay === "grace" ? [] : [key]));
  }

  /** When its stay ends in monotonic milliseconds, unless the store is away then. */
  stayEndMs(key: LeaseKey): number {
    const departure = this.#departed.get(key);
    return departure === undefined
      ? Number.NEGATIVE_INFINITY
      : departure.sinceMs + this.#stayMs[departure.stay];
  }

  /**
   * The peer vanished before this run and is held until then. It stays as long, but no longer than one that vanishes now,
   * and no shorter than after an outage: the store may have been away until now. Returns false where none are held.
   */
  restore(key: LeaseKey, endMs: number, nowMs: number): boolean {
    if (!this.#isHolding) return false;
    const { outage, "hold-down": longest } = this.#stayMs;
    const stayMs = Math.max(outage, Math.min(longest, endMs - nowMs));
    this.#departed.set(key, { sinceMs: nowMs + stayMs - longest, stay: "hold-down" });
    return true;
  }

  get isEmpty(): boolean {
    return this.#departed.size === 0;
  }

  has(key: LeaseKey): boolean {
    return this.#departed.has(key);
  }

  /** The store cannot be followed any more. */
  storeLost(): void {
    if (this.#isHolding) this.#suspectUntilMs = Number.POSITIVE_INFINITY;
  }

  /** The store can be followed again. */
  storeFound(nowMs: number): void {
    if (this.#isHolding) this.#suspectUntilMs = nowMs + this.#stayMs.outage;
  }

  /** The store did not answer in time at `nowMs`, though it seems that it can be followed. */
  suspectStore(nowMs: number): void {
    if (this.#isHolding) this.#suspectUntilMs = Math.max(this.#suspectUntilMs, nowMs + this.#stayMs.outage);
  }

  /** The peer vanished. */
  add(key: LeaseKey, nowMs: number): void {
    if (this.has(key)) return;
    this.#departed.set(key, { sinceMs: nowMs, stay: nowMs < this.#suspectUntilMs ? "outage" : "grace" });
  }

  /** It is back, or another lease has its place. */
  cancel(key: LeaseKey): void {
    this.#departed.delete(key);
  }

  /**
   * Holds those that vanished of late when they are too many of `peerCount`, which counts every peer in use, also these.
   * Those that are held already count on both sides, or the last few of a mass would pass for a few.
   */
  judge(peerCount: number, nowMs: number): void {
    if (!this.#isHolding) return;
    const recent = [...this.#departed].filter(([, { sinceMs }]) => sinceMs + this.#windowMs > nowMs);
    const before = peerCount - (this.#departed.size - recent.length);
    if (!isMass(recent.length, before)) return;
    for (const [key, { sinceMs }] of recent) this.#departed.set(key, { sinceMs, stay: "hold-down" });
  }

  /** Takes out those whose time is over. */
  expire(nowMs: number): LeaseKey[] {
    const over = [...this.#departed].filter(([, departure]) => this.#endMs(departure) <= nowMs);
    for (const [key] of over) this.cancel(key);
    return over.map(([key]) => key);
  }

  /** When expire() has something to do; Infinity when no peer is leaving or held, or the store is away. */
  get nextDeadlineMs(): number {
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const departure of this.#departed.values())
      earliestMs = Math.min(earliestMs, this.#endMs(departure));
    return earliestMs;
  }

  get #isHolding(): boolean {
    return this.#stayMs["hold-down"] > this.#stayMs.grace;
  }

  /** Within this time departures count as one. */
  get #windowMs(): number {
    return Math.max(this.#stayMs.grace, MIN_WINDOW_MS);
  }

  #endMs({ sinceMs, stay }: Departure): number {
    return Math.max(sinceMs + this.#stayMs[stay], this.#suspectUntilMs);
  }
}
