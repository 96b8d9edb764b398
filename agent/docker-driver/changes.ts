/** Waiting for a condition that other parts of the process bring about. */

import type { Clock } from "../../ipam/clock.ts";

export class Changes {
  readonly #clock: Clock;
  readonly #waiters = new Set<() => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Has every waiter read again. */
  notify(): void {
    for (const waiter of [...this.#waiters]) waiter();
  }

  /** What `read` returns as soon as it is not null; null after `ms` milliseconds or when `signal` fires. */
  async until<T>(read: () => T | null, ms: number, signal: AbortSignal): Promise<T | null> {
    const found = read();
    if (found !== null) return found;
    const timer = new AbortController();
    return await new Promise<T | null>((resolve) => {
      const finish = (value: T | null): void => {
        this.#waiters.delete(look);
        signal.removeEventListener("abort", giveUp);
        timer.abort();
        resolve(value);
      };
      const look = (): void => {
        const value = read();
        if (value !== null) finish(value);
      };
      const giveUp = (): void => finish(null);
      this.#waiters.add(look);
      signal.addEventListener("abort", giveUp, { once: true });
      this.#clock.sleep(ms, timer.signal).then(giveUp, () => undefined);
    });
  }
}
