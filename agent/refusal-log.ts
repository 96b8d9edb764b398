/** Says in the log which leases are not used, each once, and only so many one by one. */

import type { LeaseKey, RefusedLease } from "../ipam/lease.ts";
import type { Logger } from "../ipam/log.ts";

/** More than these at a time are told as a number: the list is in `tulle status`. */
const MOST_LINES = 10;

export class RefusalLog {
  readonly #logger: Logger;
  #said: ReadonlyMap<LeaseKey, string> = new Map();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Takes the leases that are refused now. */
  note(refused: ReadonlyMap<LeaseKey, RefusedLease>): void {
    if (refused.size === 0 && this.#said.size === 0) return;
    const fresh = [...refused.values()].filter(({ key, reason }) => this.#said.get(key) !== reason);
    for (const { reason } of fresh.slice(0, MOST_LINES)) {
      this.#logger.warn("lease is not used", { reason });
    }
    if (fresh.length > MOST_LINES) {
      this.#logger.warn("more leases are not used; tulle status lists them", {
        count: fresh.length - MOST_LINES,
      });
    }
    this.#said = new Map([...refused.values()].map(({ key, reason }) => [key, reason]));
  }
}
