/** Whether one path answers, from the probes that were sent along it and the answers that came. Pure. */

import type { Verdict } from "./path-choice.ts";

/** An answer that takes longer is missed; a multiple of the round trip where that is longer. */
const OVERDUE_MS = 300;
const OVERDUE_ROUND_TRIPS = 2;
/** This many probes in a row without an answer, over this time, prove that a path which answered before is dead. */
const DEAD_PROBES = 4;
const DEAD_MS = 1_000;
const DEAD_ROUND_TRIPS = 4;
/** The same for a path that has not: the peer may still be setting it up. */
const FIRST_DEAD_MS = 5_000;
/** One lost packet does not make a path doubtful. */
const DOUBTFUL_PROBES = 2;
/** Of a new round trip in the smoothed one (RFC 6298 section 2). */
const SMOOTHING = 1 / 8;
/** Times of probes that are kept. */
const MOST_KEPT = 16;

export class Liveness {
  /** When the probes were sent that are newer than every answered one. */
  #unansweredMs: number[] = [];
  #sentMs = Number.NEGATIVE_INFINITY;
  #answeredMs: number | null = null;
  #aliveSinceMs: number | null = null;
  #roundTripMs = 0;

  /** When the last probe was sent. */
  get sentMs(): number {
    return this.#sentMs;
  }

  /** When the last answer came; null before the first. */
  get answeredMs(): number | null {
    return this.#answeredMs;
  }

  /** Since when every answer has followed the one before; null before the first. */
  get aliveSinceMs(): number | null {
    return this.#aliveSinceMs;
  }

  /** When the oldest probe was sent that is not answered and not followed by an answered one; null for none. */
  get silentSinceMs(): number | null {
    return this.#unansweredMs[0] ?? null;
  }

  noteSent(nowMs: number): void {
    this.#sentMs = nowMs;
    this.#unansweredMs.push(nowMs);
    if (this.#unansweredMs.length > MOST_KEPT) this.#unansweredMs.splice(1, 1);
  }

  /** The probe of `sentMs` was answered at `nowMs`. */
  noteAnswer(sentMs: number, nowMs: number): void {
    if (this.#aliveSinceMs === null || this.overdue(nowMs) >= DOUBTFUL_PROBES) this.#aliveSinceMs = nowMs;
    const roundTripMs = nowMs - sentMs;
    this.#roundTripMs += (roundTripMs - this.#roundTripMs) * (this.#answeredMs === null ? 1 : SMOOTHING);
    this.#answeredMs = nowMs;
    this.#unansweredMs = this.#unansweredMs.filter((ms) => ms > sentMs);
  }

  /** How many probes in a row, sent after `afterMs`, should have been answered by now. */
  overdue(nowMs: number, afterMs = Number.NEGATIVE_INFINITY): number {
    const limitMs = nowMs - Math.max(OVERDUE_MS, OVERDUE_ROUND_TRIPS * this.#roundTripMs);
    return this.#unansweredMs.filter((ms) => ms > afterMs && ms <= limitMs).length;
  }

  verdict(nowMs: number): Verdict {
    const since = this.silentSinceMs;
    const isNew = this.#answeredMs === null;
    if (since === null) return isNew ? "unknown" : "alive";
    const overdue = this.overdue(nowMs);
    const deadMs = isNew ? FIRST_DEAD_MS : Math.max(DEAD_MS, DEAD_ROUND_TRIPS * this.#roundTripMs);
    if (overdue >= DEAD_PROBES && nowMs - since >= deadMs) return "dead";
    if (isNew) return "unknown";
    return overdue >= DOUBTFUL_PROBES ? "doubtful" : "alive";
  }
}
