/** Whether the agent of a peer is alive, told from the probes that it sends to this host. Pure. */

import type { LeaseKey } from "../../ipam/leases/lease.ts";

/** An agent that restarts is silent for less. */
const LEAST_SILENCE_MS = 60_000;
/** So often longer than what is usual. */
const SILENCE_FACTOR = 3;
/** Before so many probes nothing is known of what is usual. */
const LEAST_PROBES = 3;

export class AgentSigns {
  #count = 0;
  #lastMs = Number.NEGATIVE_INFINITY;
  #longestGapMs = 0;
  /** The last gap, if it was longer than what was usual. */
  #unusualGapMs = 0;

  /** A probe has arrived. */
  note(nowMs: number, turnMs: number): void {
    const gapMs = this.#count === 0 ? 0 : nowMs - this.#lastMs;
    const isUnusual = this.isQuiet(nowMs, turnMs);
    // What a dead agent was silent for is not usual. One that has started again probes more often: one of a low rate does not.
    const usualMs = isUnusual ? Math.min(gapMs, this.#unusualGapMs) : gapMs;
    this.#longestGapMs = Math.max(this.#longestGapMs, usualMs);
    this.#unusualGapMs = isUnusual ? gapMs : 0;
    this.#count += 1;
    this.#lastMs = nowMs;
  }

  /** Enough of its probes have arrived to tell when they no longer do. */
  get isKnown(): boolean {
    return this.#count >= LEAST_PROBES;
  }

  /** When the next probe was due after the last one. */
  dueMs(turnMs: number): number {
    return this.#lastMs + this.#usualMs(turnMs);
  }

  /** Its probes arrived, and do so no more. `turnMs` is how long an agent takes to probe every peer once. */
  isQuiet(nowMs: number, turnMs: number): boolean {
    if (!this.isKnown) return false;
    return nowMs - this.#lastMs > Math.max(LEAST_SILENCE_MS, this.#usualMs(turnMs) * SILENCE_FACTOR);
  }

  #usualMs(turnMs: number): number {
    return Math.max(turnMs, this.#longestGapMs);
  }
}

/** Which agent was heard last, and which other one before: whether this host hears any. */
export class LastHeard {
  #last: Sign | null = null;
  #before: Sign | null = null;

  note(peer: LeaseKey, atMs: number): void {
    if (this.#last?.peer !== peer) this.#before = this.#last;
    this.#last = { peer, atMs };
  }

  /**
   * No agent but the peer's was heard since the peer's next probe was due: a firewall of this host may drop all of them.
   * False where no other was ever heard. `signs` are the peer's, `turnMs` as isQuiet() has it.
   */
  isDeaf(peer: LeaseKey, signs: readonly AgentSigns[], turnMs: number): boolean {
    const other = this.#last?.peer === peer ? this.#before : this.#last;
    return other !== null && signs.every((one) => other.atMs <= one.dueMs(turnMs));
  }

  /** Forgets agents of peers that have left. */
  keep(isPresent: (peer: LeaseKey) => boolean): void {
    const signs = [this.#last, this.#before].filter((sign) => sign !== null && isPresent(sign.peer));
    [this.#last = null, this.#before = null] = signs;
  }
}

interface Sign {
  readonly peer: LeaseKey;
  readonly atMs: number;
}
