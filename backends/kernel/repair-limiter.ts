/**
 * Keeps a quarrel with another program from becoming a busy loop.
 *
 * The first repairs of an object are immediate. When something undoes it again and again, each further repair
 * waits, twice as long as the one before, and the object is reported as contended until it has been quiet.
 * Pure but for the time it is given.
 */

import type { ObjectKey } from "../state/objects.ts";

export interface RepairLimits {
  /** Repairs within `windowMs` before the first wait. */
  readonly burst: number;
  /** Without a repair for this long, an object's history is forgotten. */
  readonly windowMs: number;
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
}

export const REPAIR_LIMITS: RepairLimits = {
  burst: 10,
  windowMs: 10_000,
  firstDelayMs: 500,
  maxDelayMs: 60_000,
};

interface History {
  repairs: number;
  lastMs: number;
  notBeforeMs: number;
}

export class RepairLimiter {
  readonly #limits: RepairLimits;
  readonly #histories = new Map<ObjectKey, History>();

  constructor(limits: RepairLimits = REPAIR_LIMITS) {
    this.#limits = limits;
  }

  /** When `key` may be repaired; not later than now when nothing speaks against it. */
  notBeforeMs(key: ObjectKey): number {
    return this.#histories.get(key)?.notBeforeMs ?? Number.NEGATIVE_INFINITY;
  }

  /** Notes a repair. Answers true when with this one the object has become contended. */
  record(key: ObjectKey, nowMs: number): boolean {
    const { burst, windowMs, firstDelayMs, maxDelayMs } = this.#limits;
    const known = this.#histories.get(key);
    const isFresh = known === undefined || nowMs > Math.max(known.lastMs, known.notBeforeMs) + windowMs;
    const history = isFresh ? { repairs: 0, lastMs: nowMs, notBeforeMs: nowMs } : known;
    history.repairs++;
    history.lastMs = nowMs;
    const excess = history.repairs - burst;
    if (excess >= 0) history.notBeforeMs = nowMs + Math.min(maxDelayMs, firstDelayMs * 2 ** excess);
    this.#histories.set(key, history);
    return excess === 0;
  }

  /** Objects that are being undone again and again, with the number of repairs so far. */
  contended(nowMs: number): Map<ObjectKey, number> {
    const contended = new Map<ObjectKey, number>();
    for (const [key, history] of this.#histories) {
      const quietSinceMs = Math.max(history.lastMs, history.notBeforeMs);
      if (nowMs > quietSinceMs + this.#limits.windowMs) this.#histories.delete(key);
      else if (history.repairs >= this.#limits.burst) contended.set(key, history.repairs);
    }
    return contended;
  }
}
