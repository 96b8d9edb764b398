/**
 * Clocks, sleeps and back-off; tests inject a fake clock and fixed random numbers.
 *
 * Deadlines use a monotonic clock: setting the host's date neither expires a lease nor extends one. No other file in
 * ipam reads a clock.
 */

import { readFileSync } from "node:fs";
import { uptime } from "node:os";
import { partOf } from "./part-signal.ts";

export interface Clock {
  /** Milliseconds since the machine started: the same for all its processes, unaffected by date changes. */
  monotonicMs(): number;
  /** Resolves after `ms` milliseconds, at most 24 days; rejects with the signal's reason when it fires first. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** Node fires timers beyond this at once instead of late. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Where process.hrtime() counts from, in milliseconds since the machine started. In Node it is CLOCK_MONOTONIC
 * (clock_gettime(2)), in Bun the start of the process, which no other process shares.
 */
const ORIGIN_MS = process.versions.bun === undefined ? 0 : uptimeSeconds() * 1000 - elapsedMs();

/** Rounded up, so that what happened before is never later, as systemd requires of a reload. */
function uptimeSeconds(): number {
  try {
    return Number.parseFloat(readFileSync("/proc/uptime", "utf8")) + 0.01;
  } catch {
    // Not there where /proc shows processes only (proc(5), subset=pid). This is in whole seconds.
    return uptime() + 1;
  }
}

function elapsedMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1_000_000;
}

export const systemClock: Clock = {
  monotonicMs: () => ORIGIN_MS + elapsedMs(),
  // By hand: the promise of node:timers makes an error with a stack for each sleep that is cut short, and most are.
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const cutShort = (): void => {
        clearTimeout(timer);
        reject(signal.reason);
      };
      const timer = setTimeout(
        () => {
          signal.removeEventListener("abort", cutShort);
          resolve();
        },
        // Of a negative time Bun and Node 22 warn on standard error, beside the log.
        Math.max(0, Math.min(ms, LONGEST_TIMER_MS)),
      );
      signal.addEventListener("abort", cutShort, { once: true });
    }),
};

/** Resolves after `ms` milliseconds, or as soon as the signal fires; never rejects. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  // Only the signal makes a sleep reject, and the caller reads it.
  return clock.sleep(ms, signal).catch(() => undefined);
}

/** More than a busy processor delays a timer by. */
const LATE_MS = 1000;

/** Whether what was due then is done so late that this process must have been stopped, or its machine. */
export function isLate(dueMs: number, nowMs: number): boolean {
  return nowMs - dueMs > LATE_MS;
}

/** A sleep that another part of the program can end early. */
export class Sleep {
  readonly #clock: Clock;
  #wake: (() => void) | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves after `ms` milliseconds, when it is woken or when the signal fires, whichever comes first. */
  async for(ms: number, signal: AbortSignal): Promise<void> {
    const part = partOf(signal);
    this.#wake = part.end;
    await pause(this.#clock, ms, part.signal);
    this.#wake = null;
    part.end();
  }

  /** Ends the sleep; does nothing when there is none. */
  wake(): void {
    this.#wake?.();
  }
}

/** Delays between attempts: doubling from `baseMs` to `maxMs`, with jitter over the upper half. */
export class Backoff {
  readonly #baseMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  #attempts = 0;

  constructor(options: { readonly baseMs: number; readonly maxMs: number; readonly random: () => number }) {
    this.#baseMs = options.baseMs;
    this.#maxMs = options.maxMs;
    this.#random = options.random;
  }

  /** Milliseconds to wait before the next attempt. */
  nextMs(): number {
    const ceilingMs = Math.min(this.#maxMs, this.#baseMs * 2 ** this.#attempts);
    if (ceilingMs < this.#maxMs) this.#attempts += 1;
    return ceilingMs / 2 + (ceilingMs / 2) * this.#random();
  }

  /** The same after something that ran for `ranMs`. What ran longer than the longest wait has failed for a new reason. */
  nextAfterMs(ranMs: number): number {
    if (ranMs > this.#maxMs) this.reset();
    return this.nextMs();
  }

  reset(): void {
    this.#attempts = 0;
  }
}
