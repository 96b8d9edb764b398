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

  /**
   * What `read` returns as soon as it is not null; null after `ms` milliseconds or when `signal` fires. Rejects with what
   * `read` throws, at once.
   */
  async until<T>(read: () => T | null, ms: number, signal: AbortSignal): Promise<T | null> {
    const found = read();
    if (found !== null) return found;
    const timer = new AbortController();
    return await new Promise<T | null>((resolve, reject) => {
      const end = (): void => {
        this.#waiters.delete(look);
        signal.removeEventListener("abort", giveUp);
        timer.abort();
      };
      const finish = (value: T | null): void => {
        end();
        resolve(value);
      };
      const look = (): void => {
        try {
          const value = read();
          if (value !== null) finish(value);
        } catch (error) {
          // The one that notifies, and the other waiters, have no part in it.
          end();
          reject(error);
        }
      };
      const giveUp = (): void => finish(null);
      if (signal.aborted) return giveUp();
      this.#waiters.add(look);
      signal.addEventListener("abort", giveUp, { once: true });
      this.#clock.sleep(ms, timer.signal).then(giveUp, () => undefined);
    });
  }
}
