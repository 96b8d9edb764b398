/**
 * Watches the paths to all peers that have a fall-back, within a budget of packets that does not grow with their number.
 * Sends nothing itself.
 *
 * Pairs in doubt come first, then those whose tunnel is known to fail, then those to which packets are sent, then all
 * others. Where the budget does not suffice, each of these kinds has a share of it, so that none waits for the others.
 */

import { AT_START, type PathChoice } from "./path-choice.ts";
import { type PairTarget, PathPair, type Way } from "./path-pair.ts";

export interface PairPlanOptions {
  /** Packets per second for all pairs together. */
  readonly perSecond: number;
  /** Sends a probe; `onAnswer` may be called once. */
  readonly send: (target: PairTarget, way: Way, onAnswer: () => void) => void;
  /** Monotonic, in milliseconds. */
  readonly nowMs: () => number;
  /** Packets of this pair take the other way. */
  readonly onMove: (pair: PathPair) => void;
}

/** Of pairs in use, while the budget suffices. */
const DENSE_MS = 750;
/** Of all others, once it does not suffice for all. */
const IDLE_MS = 5_000;
/** Parts of the budget; the rest is for pairs in doubt. */
const DENSE_SHARE = 0.6;
const IDLE_SHARE = 0.2;
/** Time of which what was not used is kept: faults concern many pairs at one moment. */
const SAVED_MS = 20_000;
/** Packets in one step, so that they do not fill queues on the way. */
const MOST_AT_ONCE = 20;
/** Idle pairs that are looked at in one step. */
const LOOKS = 64;

interface Probe {
  readonly pair: PathPair;
  readonly way: Way;
}

/** Kinds of pairs, the most urgent first, by the probes that are due. */
const DOUBTFUL = 0;
const FAILING = 1;
const BUSY = 2;
const IDLE = 3;
type Queues = readonly [Iterator<Probe>, Iterator<Probe>, Iterator<Probe>, Iterator<Probe>];

/** Which kind comes first in turn: a doubt ends with a few more probes, so half of them are for doubts. */
const TURNS = [DOUBTFUL, FAILING, DOUBTFUL, BUSY, DOUBTFUL, FAILING, DOUBTFUL, IDLE] as const;

export class PairPlan {
  readonly #options: PairPlanOptions;
  #pairs: ReadonlyMap<string, PathPair> = new Map();
  #order: readonly PathPair[] = [];
  #busy: ReadonlySet<string> = new Set();
  #at = 0;
  #turn = 0;
  #tokens = MOST_AT_ONCE;
  #refilledMs: number | null = null;

  constructor(options: PairPlanOptions) {
    this.#options = options;
  }

  get pairs(): ReadonlyMap<string, PathPair> {
    return this.#pairs;
  }

  /** Replaces all targets. A pair keeps its choice, and what is known of it as long as its target stays as it was. */
  setTargets(
    targets: readonly PairTarget[],
    choiceOf: (target: PairTarget) => PathChoice = () => AT_START,
  ): void {
    const former = this.#pairs;
    this.#pairs = new Map(
      targets.map((target) => {
        const before = former.get(target.id);
        if (before !== undefined && isSameTarget(before.target, target)) return [target.id, before];
        return [target.id, new PathPair(target, before?.choice ?? choiceOf(target))];
      }),
    );
    this.#order = [...this.#pairs.values()];
  }

  /** Those that packets of this host are sent to. */
  setBusy(ids: ReadonlySet<string>): void {
    this.#busy = ids;
  }

  /** When the tunnel of a pair was probed last. */
  probedMs(id: string): number {
    return this.#pairs.get(id)?.tunnel.sentMs ?? Number.NEGATIVE_INFINITY;
  }

  /** Decides, and sends what is due. To be called about 20 times a second, after what has arrived was taken. */
  step(): void {
    const nowMs = this.#options.nowMs();
    this.#refill(nowMs);
    const active = this.#order.filter((pair) => pair.isActive);
    for (const pair of active) if (pair.decide(nowMs)) this.#options.onMove(pair);
    const queues = this.#queues(active, nowMs);
    for (let room = Math.min(MOST_AT_ONCE, Math.floor(this.#tokens)); room > 0; room--) {
      const probe = this.#take(queues);
      if (probe === null) return;
      this.#probe(probe, nowMs);
    }
  }

  #refill(nowMs: number): void {
    const { perSecond } = this.#options;
    const elapsedMs = this.#refilledMs === null ? 0 : nowMs - this.#refilledMs;
    this.#refilledMs = nowMs;
    this.#tokens = Math.min((SAVED_MS * perSecond) / 1000, this.#tokens + (elapsedMs * perSecond) / 1000);
  }

  #queues(active: readonly PathPair[], nowMs: number): Queues {
    const isBusy = ({ target: { id } }: PathPair): number => (this.#busy.has(id) ? 1 : 0);
    const missed = new Map(
      active.filter((pair) => pair.isDoubtful(nowMs)).map((pair) => [pair, pair.tunnel.overdue(nowMs)]),
    );
    // One that is nearly proven first: several that wait for each other are all found late.
    const doubtful = [...missed]
      .sort(([a, missedA], [b, missedB]) => isBusy(b) - isBusy(a) || missedB - missedA)
      .map(([pair]) => pair);
    const failing = active
      .filter((pair) => !missed.has(pair) && pair.isFailing(nowMs))
      .sort((a, b) => a.tunnel.sentMs - b.tunnel.sentMs);
    const urgent = new Set([...doubtful, ...failing]);
    const busy = [...this.#busy].flatMap((id) => this.#pairs.get(id) ?? []);
    const due = (pairs: Iterable<PathPair>): Iterator<Probe> => this.#due(pairs, nowMs);
    const others = (pairs: readonly PathPair[]): PathPair[] => pairs.filter((pair) => !urgent.has(pair));
    return [due(doubtful), due(failing), due(others(busy)), due(this.#others(urgent))];
  }

  /** Some of the pairs, in turn. */
  *#others(urgent: ReadonlySet<PathPair>): Generator<PathPair> {
    for (let looks = Math.min(LOOKS, this.#order.length); looks > 0; looks--) {
      this.#at = (this.#at + 1) % this.#order.length;
      const pair = this.#order[this.#at];
      if (pair !== undefined && !urgent.has(pair)) yield pair;
    }
  }

  *#due(pairs: Iterable<PathPair>, nowMs: number): Generator<Probe> {
    for (const pair of pairs) for (const way of pair.due(nowMs, this.#calmMs(pair))) yield { pair, way };
  }

  /** The next probe of the kind whose turn it is, else of the most urgent one; null where none is due. */
  #take(queues: Queues): Probe | null {
    const first = queues[TURNS[this.#turn] ?? DOUBTFUL];
    this.#turn = (this.#turn + 1) % TURNS.length;
    for (const queue of [first, ...queues]) {
      const { value, done } = queue.next();
      if (done !== true) return value;
    }
    return null;
  }

  #probe({ pair, way }: Probe, nowMs: number): void {
    this.#tokens -= 1;
    const path = pair[way];
    path.noteSent(nowMs);
    this.#options.send(pair.target, way, () => path.noteAnswer(nowMs, this.#options.nowMs()));
  }

  /** Between two probes of a path that works. */
  #calmMs({ target: { id } }: PathPair): number {
    const { perSecond } = this.#options;
    const spacingMs = (packets: number, share: number): number => (packets * 1000) / (perSecond * share);
    if (spacingMs(this.#order.length, DENSE_SHARE + IDLE_SHARE) <= DENSE_MS) return DENSE_MS;
    if (this.#busy.has(id)) return Math.max(DENSE_MS, spacingMs(this.#busy.size, DENSE_SHARE));
    // So rarely that both ways are probed equally often.
    return Math.max(IDLE_MS, spacingMs(2 * this.#order.length, IDLE_SHARE));
  }
}

function isSameTarget(a: PairTarget, b: PairTarget): boolean {
  return (
    a.device === b.device && a.mtuBytes === b.mtuBytes && a.inner.equals(b.inner) && a.source.equals(b.source)
  );
}
