/**
 * What the guard had to repair: how often, what was found the last time, and whether another program undoes our rules
 * repeatedly. Pure: the caller passes the time, logs and repairs.
 */

import type { Drift } from "./engine.ts";

/** So many repairs, each within the window after the one before, are a conflict. */
const CONFLICT_REPAIRS = 10;
/** Without a repair for this long a conflict is over. */
const WINDOW_MS = 10_000;

export interface FirewallRepair {
  /** On the guard's clock: milliseconds since the machine started. */
  readonly atMs: number;
  /** What differed from the plan, one sentence each. */
  readonly found: readonly Drift[];
  /** The program that changed what concerns us, where the kernel tells. */
  readonly by: string | null;
}

/** A repair in few words: the first finding, how many more there were, and who did it. */
export function describeRepair({ found, by }: FirewallRepair): string {
  const others = found.length > 1 ? ` (and ${found.length - 1} more)` : "";
  return `${found[0]}${others}${by === null ? "" : `, by ${by}`}`;
}

export class RepairHistory {
  #count = 0;
  #inARow = 0;
  #last: FirewallRepair | null = null;

  /** Repairs since the start. */
  get count(): number {
    return this.#count;
  }

  get last(): FirewallRepair | null {
    return this.#last;
  }

  /** How often in a row another program has undone our rules; 0 below the threshold of a conflict. */
  undone(nowMs: number): number {
    const isOver = this.#last === null || nowMs > this.#last.atMs + WINDOW_MS;
    return isOver || this.#inARow < CONFLICT_REPAIRS ? 0 : this.#inARow;
  }

  /** Returns true if this repair begins a conflict. */
  record(repair: FirewallRepair): boolean {
    const isFollowUp = this.#last !== null && repair.atMs <= this.#last.atMs + WINDOW_MS;
    this.#inARow = isFollowUp ? this.#inARow + 1 : 1;
    this.#count += 1;
    this.#last = repair;
    return this.#inARow === CONFLICT_REPAIRS;
  }
}
