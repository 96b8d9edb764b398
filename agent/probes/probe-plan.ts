/**
 * Which target is probed next, within a budget of packets that does not grow with the number of peers. Pure.
 *
 * Doubtful and new targets come first, then those in use and the neighbours in the ring of all hosts, then all others in
 * turn: a dead host is seen soon by its neighbours, a dead path to a peer in use by its user.
 */

import type { ProbeTarget } from "./probe.ts";

export interface ProbeBudget {
  /** Packets per second, at least 1. */
  readonly perSecond: number;
  /** How often the plan is asked for what is routine. */
  readonly tickMs: number;
}

/** Of neighbours in the ring. */
const RING_INTERVAL_MS = 5_000;
/** Of all others, however few they are. */
const TURN_INTERVAL_MS = 5_000;
/** What routine probes may take of the budget; doubtful targets have the rest, and what routine leaves. */
const ROUTINE_SHARE = 0.9;
const RING_NEIGHBOURS = 2;
/** Packets that may follow each other at once, at least. */
const LEAST_BURST = 5;
/** Time in which each target is to have its turn, as far as the budget allows it, whatever is in use. */
const TURN_MS = 300_000;
/** What those in use may take of the budget in any case. */
const LEAST_BUSY_SHARE = 0.15;
/** How often it is looked which repetitions are due: there may be as many as targets. */
const SCAN_MS = 500;

export class ProbePlan {
  readonly #perMs: number;
  readonly #tickMs: number;
  readonly #burst: number;
  /** Sorted by id. */
  #targets: readonly ProbeTarget[] = [];
  #ring: readonly ProbeTarget[] = [];
  /** Those in use, the one that was probed longest ago first. */
  #busy: readonly string[] = [];
  #busyIntervalMs = 0;
  /** When each of the doubtful and new targets is due, in the order in which they became so. */
  readonly #doubtful = new Map<string, number>();
  /** When what is known of a target is to be looked at again, and those of them that are due. */
  readonly #repeats = new Map<string, number>();
  readonly #due = new Set<string>();
  /** When the first repetition is due; null where that is to be looked for, which would cost more than packets do each time. */
  #repeatsMs: number | null = null;
  #nextScanMs = Number.NEGATIVE_INFINITY;
  readonly #probedMs = new Map<string, number>();
  #turn = 0;
  #nextTurnMs = Number.NEGATIVE_INFINITY;
  #tokens: number;
  #refilledMs: number | null = null;

  constructor({ perSecond, tickMs }: ProbeBudget) {
    this.#perMs = perSecond / 1000;
    this.#tickMs = tickMs;
    this.#burst = Math.max(LEAST_BURST, this.#perMs * tickMs);
    this.#tokens = this.#burst;
  }

  /** Replaces all targets, sorted by id; `ownKey` is this host's place among them. New ones are probed at once. */
  setTargets(targets: readonly ProbeTarget[], ownKey: string): void {
    const former = new Set(this.#targets.map(({ id }) => id));
    this.#targets = targets;
    this.#ring = neighboursOf(targets, ownKey);
    for (const { id } of targets) {
      if (!former.delete(id)) this.#doubtful.set(id, Number.NEGATIVE_INFINITY);
    }
    for (const id of former) {
      this.settle(id);
      this.#probedMs.delete(id);
    }
    this.#busy = this.#busy.filter((id) => this.#find(id) !== undefined);
  }

  /** Those that packets of this host are sent to: they are probed every `intervalMs`, less often where they are many. */
  setBusy(ids: ReadonlySet<string>, intervalMs: number): void {
    const present = new Set(this.#busy);
    // New ones are next.
    this.#busy = [...[...ids].filter((id) => !present.has(id)), ...this.#busy.filter((id) => ids.has(id))];
    const turnsPerMs = this.#targets.length / TURN_MS + RING_NEIGHBOURS / RING_INTERVAL_MS;
    const perMs = Math.max(this.#perMs * ROUTINE_SHARE - turnsPerMs, this.#perMs * LEAST_BUSY_SHARE);
    this.#busyIntervalMs = Math.max(intervalMs, ids.size / perMs);
  }

  isBusy(id: string): boolean {
    return this.#busy.includes(id);
  }

  /** When a target was probed last, as a matter of routine. */
  probedMs(id: string): number {
    return this.#probedMs.get(id) ?? Number.NEGATIVE_INFINITY;
  }

  /** Has a target looked after from `atMs` on, before what is routine, until it is settled. */
  hurry(id: string, atMs: number): void {
    this.settle(id);
    if (this.#find(id) !== undefined) this.#doubtful.set(id, atMs);
  }

  /** The same for one that nothing else is planned for, unless an answer comes before: see trust(). Returns whether it is planned. */
  suspect(id: string, atMs: number): boolean {
    if (this.#doubtful.has(id) || this.#repeats.has(id) || this.#due.has(id)) return false;
    this.#doubtful.set(id, atMs);
    return true;
  }

  /** Takes back a suspicion of that time. */
  trust(id: string, atMs: number): void {
    if (this.#doubtful.get(id) === atMs) this.#doubtful.delete(id);
  }

  /** Has one whose state is known looked after from `atMs` on, after those that are doubtful. */
  repeat(id: string, atMs: number): void {
    this.settle(id);
    if (this.#find(id) === undefined) return;
    const earliestMs = this.#earliestRepeatMs;
    this.#repeats.set(id, atMs);
    this.#repeatsMs = Math.min(earliestMs, atMs);
  }

  /** How many targets are to be looked at again. */
  get repeats(): number {
    return this.#repeats.size + this.#due.size;
  }

  settle(id: string): void {
    this.#doubtful.delete(id);
    if (this.#repeats.get(id) === this.#repeatsMs) this.#repeatsMs = null;
    this.#repeats.delete(id);
    this.#due.delete(id);
  }

  /** True when the budget has a packet left now. */
  maySpend(nowMs: number): boolean {
    if (this.#refilledMs !== null) {
      this.#tokens = Math.min(this.#burst, this.#tokens + (nowMs - this.#refilledMs) * this.#perMs);
    }
    this.#refilledMs = nowMs;
    return this.#tokens >= 1;
  }

  /** When a doubtful or new target is due, which may be in the past; infinity while none will be. */
  get urgentMs(): number {
    if (this.#due.size > 0) return Number.NEGATIVE_INFINITY;
    return Math.min(earliest(this.#doubtful), Math.max(this.#earliestRepeatMs, this.#nextScanMs));
  }

  get #earliestRepeatMs(): number {
    this.#repeatsMs ??= earliest(this.#repeats);
    return this.#repeatsMs;
  }

  /** The same for what is routine. */
  get routineMs(): number {
    const [busy] = this.#busy;
    return Math.min(
      ...(busy === undefined ? [] : [this.probedMs(busy) + this.#busyIntervalMs]),
      ...this.#ring.map(({ id }) => this.probedMs(id) + RING_INTERVAL_MS),
      ...(this.#targets.length === 0 ? [] : [this.#nextTurnMs]),
    );
  }

  /** How long it takes until every target has had its turn. */
  get turnMs(): number {
    return this.#targets.length * this.#spacingMs;
  }

  get #spacingMs(): number {
    return Math.max(1 / (this.#perMs * ROUTINE_SHARE), TURN_INTERVAL_MS / this.#targets.length);
  }

  /** Takes a packet out of the budget. */
  spend(): void {
    this.#tokens -= 1;
  }

  /** The targets that are to be looked after first: the doubtful, then those to repeat, each in order. */
  *urgent(nowMs: number): Iterable<ProbeTarget> {
    for (const [id, atMs] of this.#doubtful) {
      const target = this.#find(id);
      if (target !== undefined && atMs <= nowMs) yield target;
    }
    this.#scan(nowMs);
    for (const id of this.#due) {
      const target = this.#find(id);
      if (target !== undefined) yield target;
    }
  }

  /** Searched for: an index of thousands of targets takes more memory than some look-ups a second are worth. */
  #find(id: string): ProbeTarget | undefined {
    let low = 0;
    let high = this.#targets.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const target = this.#targets[middle];
      if (target !== undefined && target.id < id) low = middle + 1;
      else high = middle;
    }
    const found = this.#targets[low];
    return found?.id === id ? found : undefined;
  }

  #scan(nowMs: number): void {
    if (nowMs < Math.max(this.#earliestRepeatMs, this.#nextScanMs)) return;
    this.#nextScanMs = nowMs + SCAN_MS;
    this.#repeatsMs = null;
    for (const [id, atMs] of this.#repeats) {
      if (atMs > nowMs) continue;
      this.#repeats.delete(id);
      this.#due.add(id);
    }
  }

  /** The target whose turn it is, null when none is due. Counts as probed now. */
  routine(nowMs: number): ProbeTarget | null {
    const target =
      this.#takeBusy(nowMs) ?? this.#overdue(this.#ring, RING_INTERVAL_MS, nowMs) ?? this.#takeTurn(nowMs);
    if (target !== null) this.#probedMs.set(target.id, nowMs);
    return target;
  }

  #takeBusy(nowMs: number): ProbeTarget | null {
    const id = this.#busy[0];
    if (id === undefined || this.probedMs(id) > nowMs - this.#busyIntervalMs) return null;
    this.#busy = [...this.#busy.slice(1), id];
    return this.#find(id) ?? null;
  }

  /** The one that waits longest. */
  #overdue(targets: readonly ProbeTarget[], intervalMs: number, nowMs: number): ProbeTarget | null {
    let longest: ProbeTarget | null = null;
    let oldestMs = nowMs - intervalMs;
    for (const target of targets) {
      const probedMs = this.probedMs(target.id);
      if (probedMs > oldestMs) continue;
      oldestMs = probedMs;
      longest = target;
    }
    return longest;
  }

  #takeTurn(nowMs: number): ProbeTarget | null {
    if (nowMs < this.#nextTurnMs || this.#targets.length === 0) return null;
    const spacingMs = this.#spacingMs;
    // What was missed is made up for as far as one tick goes.
    this.#nextTurnMs = Math.max(this.#nextTurnMs, nowMs - this.#tickMs) + spacingMs;
    this.#turn = (this.#turn + 1) % this.#targets.length;
    return this.#targets[this.#turn] ?? null;
  }
}

function earliest(times: ReadonlyMap<string, number>): number {
  let least = Number.POSITIVE_INFINITY;
  for (const atMs of times.values()) {
    // New ones are due at once, and there may be thousands of them.
    if (atMs === Number.NEGATIVE_INFINITY) return atMs;
    if (atMs < least) least = atMs;
  }
  return least;
}

/** The next targets after this host's own key, around the end. */
function neighboursOf(targets: readonly ProbeTarget[], ownKey: string): readonly ProbeTarget[] {
  const after = targets.findIndex(({ peer }) => peer > ownKey);
  const start = Math.max(after, 0);
  const count = Math.min(RING_NEIGHBOURS, targets.length);
  return Array.from({ length: count }, (_, index) => targets[(start + index) % targets.length]).flatMap(
    (target) => target ?? [],
  );
}
