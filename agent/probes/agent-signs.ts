/** Whether the agent of a peer is alive, told from the probes that it sends to this host. Pure. */

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

  /** Its probes arrived, and do so no more. `turnMs` is how long an agent takes to probe every peer once. */
  isQuiet(nowMs: number, turnMs: number): boolean {
    if (!this.isKnown) return false;
    const usualMs = Math.max(turnMs, this.#longestGapMs);
    return nowMs - this.#lastMs > Math.max(LEAST_SILENCE_MS, usualMs * SILENCE_FACTOR);
  }
}
