/** Limits how often a client may give a wrong token: ten at once, then one in six seconds. */

const MOST_AT_ONCE = 10;
const RESTORE_MS = 6_000;
/** When so many clients have failed lately, one that has not must wait too: memory stays bounded. */
const MOST_SOURCES = 1_000;

export class AttemptLimit {
  readonly #nowMs: () => number;
  /** By client: when all its attempts are restored. */
  readonly #restoredMs = new Map<string, number>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  mayTry(source: string): boolean {
    const nowMs = this.#nowMs();
    const restoredMs = this.#restoredMs.get(source);
    if (restoredMs !== undefined) return restoredMs - nowMs <= (MOST_AT_ONCE - 1) * RESTORE_MS;
    if (this.#restoredMs.size < MOST_SOURCES) return true;
    this.#forget(nowMs);
    return this.#restoredMs.size < MOST_SOURCES;
  }

  noteFailure(source: string): void {
    const nowMs = this.#nowMs();
    this.#restoredMs.set(source, Math.max(nowMs, this.#restoredMs.get(source) ?? 0) + RESTORE_MS);
  }

  #forget(nowMs: number): void {
    for (const [source, restoredMs] of this.#restoredMs) {
      if (restoredMs <= nowMs) this.#restoredMs.delete(source);
    }
  }
}
