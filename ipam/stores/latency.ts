/**
 * Measures the round trip to a server, from which deadlines follow: a server that needs seconds for each message is
 * slow, not unreachable; one that usually answers in a millisecond is unreachable after the short deadline.
 */

import type { Logger } from "../log.ts";

/** Of the measured time; a connection may have been measured with half a round trip. */
const ROUND_TRIPS = 3;

/** Above this the latency is reported. */
const SLOW_MS = 500;

export class Latency {
  #roundTripMs: number | null = null;

  /** The shortest that was measured, because a single answer may be late for other reasons; null before the first. */
  get roundTripMs(): number | null {
    return this.#roundTripMs;
  }

  /** Takes the duration of an exchange. */
  note(ms: number): void {
    this.#roundTripMs = Math.min(ms, this.#roundTripMs ?? ms);
  }

  /** The deadline for an exchange that a server without latency finishes in `baseMs`. */
  deadlineMs(baseMs: number): number {
    return Math.ceil(baseMs + ROUND_TRIPS * (this.#roundTripMs ?? 0));
  }
}

/** Logs when a store becomes slow, and when it no longer is. */
export class SlownessLog {
  readonly #log: Logger;
  #isSlow = false;

  constructor(log: Logger) {
    this.#log = log;
  }

  note(server: string, { roundTripMs }: Latency): void {
    const isSlow = roundTripMs !== null && roundTripMs >= SLOW_MS;
    if (isSlow === this.#isSlow) return;
    this.#isSlow = isSlow;
    const fields = { server, roundTripMs: Math.round(roundTripMs ?? 0) };
    if (isSlow) this.#log.warn("lease store answers slowly, its deadlines are extended", fields);
    else this.#log.info("lease store answers quickly again", fields);
  }
}

/** `, answers in 4.0 s`, or nothing for a store that is not slow. */
export function describeLatency(roundTripMs: number | null): string {
  if (roundTripMs === null || roundTripMs < SLOW_MS) return "";
  return `, answers in ${(roundTripMs / 1000).toFixed(1)} s`;
}
