/**
 * How long our lease lasts and when to renew it, on a clock that never jumps: an expiry is noticed even while the
 * store is away.
 *
 * Times are monotonic milliseconds. Knows no store, and not what becomes of a lease whose end has passed.
 */

import { type Clock, Nap } from "../clock.ts";

export interface LeaseTermOptions {
  readonly ttlSeconds: number;
  /** flannel's subnet-lease-renew-margin: renew at the latest this long before the end. */
  readonly renewMarginSeconds: number;
  readonly clock: Clock;
}

/** An answer that takes longer comes from a store in trouble. */
const LATE_MS = 500;

export class LeaseTerm {
  readonly #options: LeaseTermOptions;
  readonly #nap: Nap;
  #endMs: number;
  #renewalMs: number;

  /** `endMs` is Infinity for a reservation. */
  constructor(options: LeaseTermOptions, endMs: number) {
    this.#options = options;
    this.#nap = new Nap(options.clock);
    this.#endMs = endMs;
    this.#renewalMs = this.#nextRenewal();
  }

  get endMs(): number {
    return this.#endMs;
  }

  get isOver(): boolean {
    return this.#endMs <= this.#options.clock.monotonicMs();
  }

  /** True when the renewal is overdue. */
  get isLate(): boolean {
    return this.#options.clock.monotonicMs() > this.#renewalMs + LATE_MS;
  }

  /** Until the next renewal, at least 0. */
  get idleMs(): number {
    return Math.max(0, this.#renewalMs - this.#options.clock.monotonicMs());
  }

  /** The lease lasts until `endMs` now. */
  extend(endMs: number): void {
    this.#endMs = endMs;
    this.postponeRenewal();
    this.#nap.wake();
  }

  /** The renewal is not due before as long as after an extension. */
  postponeRenewal(): void {
    this.#renewalMs = this.#nextRenewal();
  }

  /** Somebody gave the lease a time to live that we do not know: renew now, and trust it no longer than ours. */
  doubt(): void {
    this.#renewalMs = this.#options.clock.monotonicMs();
    this.#endMs = Math.min(this.#endMs, this.#renewalMs + this.#options.ttlSeconds * 1000);
    this.#nap.wake();
  }

  /** Resolves when the end has come, or is another one, or the signal fires. An end that has passed is not told twice. */
  async untilEndOrChange(signal: AbortSignal): Promise<void> {
    const leftMs = this.#endMs - this.#options.clock.monotonicMs();
    await this.#nap.take(leftMs > 0 ? leftMs : Number.POSITIVE_INFINITY, signal);
  }

  /** A third of the time to live from now, or sooner when the margin asks for it. */
  #nextRenewal(): number {
    const { ttlSeconds, renewMarginSeconds, clock } = this.#options;
    const beforeMargin = ttlSeconds - renewMarginSeconds;
    const seconds = Math.min(ttlSeconds / 3, beforeMargin > 0 ? beforeMargin : ttlSeconds / 3);
    return clock.monotonicMs() + seconds * 1000;
  }
}
