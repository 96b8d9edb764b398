/**
 * Conflicts with other programs over objects of ours: rate-limits the repairs and records who undid them.
 *
 * The first repairs of an object are immediate. When something undoes it again and again, each further repair
 * waits, twice as long as the one before, and the object is reported as contended until it has been quiet.
 * Pure: the caller passes the time.
 */

import type { ObjectKey } from "../state/contract/kind.ts";
import type { Change } from "../state/diff.ts";
import { describe } from "../state/kinds/registry.ts";

export interface RepairLimits {
  /** Repairs within `windowMs` before the first wait. */
  readonly burst: number;
  /** Without a repair for this long, an object's history is forgotten. */
  readonly windowMs: number;
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
}

const REPAIR_LIMITS: RepairLimits = {
  burst: 10,
  windowMs: 10_000,
  firstDelayMs: 500,
  maxDelayMs: 60_000,
};

/** An object that something keeps undoing. */
export interface Contended {
  readonly key: ObjectKey;
  /** Repairs since the conflict began. */
  readonly repairs: number;
  /** Until the next repair, if one is needed. */
  readonly retryInMs: number;
  /** What was found in its place the last time, and who did it as far as the kernel tells. */
  readonly evidence: string;
}

interface History {
  repairs: number;
  lastMs: number;
  notBeforeMs: number;
  found: string;
  /** Netlink port id of the last program that touched it, 0 when unknown. */
  by: number;
  /** Its name, looked up at once because it may end soon. */
  program: string | null;
}

export class Contention {
  readonly #limits: RepairLimits;
  readonly #programOf: (by: number) => string | null;
  readonly #histories = new Map<ObjectKey, History>();
  #pruneAtMs = 0;

  constructor(programOf: (by: number) => string | null, limits: RepairLimits = REPAIR_LIMITS) {
    this.#programOf = programOf;
    this.#limits = limits;
  }

  /** When `key` may be repaired; not later than now unless it is rate-limited. */
  notBeforeMs(key: ObjectKey): number {
    return this.#histories.get(key)?.notBeforeMs ?? Number.NEGATIVE_INFINITY;
  }

  /** True when no object was repaired lately. */
  get isQuiet(): boolean {
    return this.#histories.size === 0;
  }

  /** Another program changed `key`: recorded only where a history exists already. */
  noteTouch(key: ObjectKey, by: number): void {
    const history = this.#histories.get(key);
    if (history === undefined || by === history.by) return;
    history.by = by;
    history.program = this.#programOf(by);
  }

  /** Records a repair. Returns the conflict if this repair makes the object contended, else null. */
  record(key: ObjectKey, change: Change, nowMs: number): Contended | null {
    this.#prune(nowMs);
    const { burst, firstDelayMs, maxDelayMs } = this.#limits;
    const known = this.#histories.get(key);
    const history: History =
      known === undefined || this.#isOver(known, nowMs)
        ? { repairs: 0, lastMs: nowMs, notBeforeMs: nowMs, found: "", by: 0, program: null }
        : known;
    history.repairs++;
    history.lastMs = nowMs;
    history.found = foundBy(change);
    const excess = history.repairs - burst;
    if (excess >= 0) history.notBeforeMs = nowMs + Math.min(maxDelayMs, firstDelayMs * 2 ** excess);
    this.#histories.set(key, history);
    return excess === 0 ? this.#contended(key, history, nowMs) : null;
  }

  /** The objects that are being undone again and again. */
  list(nowMs: number): readonly Contended[] {
    this.#prune(nowMs);
    return [...this.#histories]
      .filter(([, history]) => history.repairs >= this.#limits.burst && !this.#isOver(history, nowMs))
      .map(([key, history]) => this.#contended(key, history, nowMs));
  }

  #isOver({ lastMs, notBeforeMs }: History, nowMs: number): boolean {
    return nowMs > Math.max(lastMs, notBeforeMs) + this.#limits.windowMs;
  }

  #prune(nowMs: number): void {
    if (nowMs < this.#pruneAtMs) return;
    this.#pruneAtMs = nowMs + this.#limits.windowMs;
    for (const [key, history] of this.#histories)
      if (this.#isOver(history, nowMs)) this.#histories.delete(key);
  }

  #contended(
    key: ObjectKey,
    { repairs, notBeforeMs, found, by, program }: History,
    nowMs: number,
  ): Contended {
    const who = by === 0 ? "" : `, by ${program ?? "a program that has ended"} (netlink port ${by})`;
    return { key, repairs, retryInMs: Math.max(0, notBeforeMs - nowMs), evidence: `${found}${who}` };
  }
}

function foundBy(change: Change): string {
  if (change.op === "create") return "it was deleted";
  if (change.op === "delete") return `it was added: ${describe(change.object)}`;
  return `it became: ${describe(change.actual)}`;
}
