/**
 * How long our lease lasts and when to renew it, on the monotonic clock: an expiry is detected even while the store
 * is unreachable.
 *
 * Times are monotonic milliseconds.
 */

import { type Clock, Sleep } from "../clock.ts";

export interface LeaseTermOptions {
  readonly ttlSeconds: number;
  /** flannel's subnet-lease-renew-margin: renew no later than this long before the end. */
  readonly renewMarginSeconds: number;
  readonly clock: Clock;
}

/** A store that takes longer to answer is in trouble. */
const LATE_MS = 500;

export class LeaseTerm {
  readonly #options: LeaseTermOptions;
  readonly #sleep: Sleep;
  #endMs: number;
  #renewalMs: number;

  /** `endMs` is Infinity for a reservation. */
  constructor(options: LeaseTermOptions, endMs: number) {
    this.#options = options;
    this.#sleep = new Sleep(options.clock);
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

  /** Sets the end to `endMs` and schedules the next renewal: soon enough also for a store lease shorter than ours. */
  extend(endMs: number): void {
    this.#endMs = endMs;
    const nowMs = this.#options.clock.monotonicMs();
    this.#renewalMs = Math.min(this.#nextRenewal(), nowMs + (endMs - nowMs) / 3);
    this.#sleep.wake();
  }

  /** Schedules the next renewal as after an extension. */
  postponeRenewal(): void {
    this.#renewalMs = this.#nextRenewal();
  }

  /** The store lease was replaced by one with an unknown time to live: renew now, and assume ours at most. */
  markUncertain(): void {
    this.#renewalMs = this.#options.clock.monotonicMs();
    this.#endMs = Math.min(this.#endMs, this.#renewalMs + this.#options.ttlSeconds * 1000);
    this.#sleep.wake();
  }

  /** Resolves when the end comes or changes, or the signal fires. Does not resolve again for an end that has passed. */
  async untilEndOrChange(signal: AbortSignal): Promise<void> {
    const leftMs = this.#endMs - this.#options.clock.monotonicMs();
    await this.#sleep.for(leftMs > 0 ? leftMs : Number.POSITIVE_INFINITY, signal);
  }

  /** A third of the time to live from now, or sooner if the margin is larger. */
  #nextRenewal(): number {
    const { ttlSeconds, renewMarginSeconds, clock } = this.#options;
    const beforeMargin = ttlSeconds - renewMarginSeconds;
    const seconds = Math.min(ttlSeconds / 3, beforeMargin > 0 ? beforeMargin : ttlSeconds / 3);
    return clock.monotonicMs() + seconds * 1000;
  }
}
