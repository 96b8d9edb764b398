/**
 * Logs what is wrong with each of many things (leases, kernel objects): each reason once, and a large number of them
 * as a count. A flood over time, one call after another, is bounded by the log: it limits the lines of one message.
 */

import type { Logger } from "../../ipam/log.ts";

export interface Reason {
  /** Of a lease, or of an object in the kernel. */
  readonly key: string;
  readonly reason: string;
}

/** More than these at a time are counted: `tulle status` lists them. */
const MOST_LINES = 10;

export class ReasonLog {
  readonly #write: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  readonly #message: string;
  #logged: ReadonlyMap<string, string> = new Map();

  constructor(logger: Logger, level: "warn" | "error", message: string) {
    this.#write = (text, fields) => logger[level](text, fields);
    this.#message = message;
  }

  /** Takes everything that is wrong at present; what was logged before and is still wrong is not logged again. */
  note(reasons: Iterable<Reason>): void {
    const now = new Map([...reasons].map(({ key, reason }) => [key, reason]));
    const fresh = [...now].filter(([key, reason]) => this.#logged.get(key) !== reason);
    for (const [key, reason] of fresh.slice(0, MOST_LINES)) this.#write(this.#message, { key, reason });
    const more = fresh.length - MOST_LINES;
    if (more > 0) this.#write(`${this.#message}; tulle status lists all`, { more });
    this.#logged = now;
  }
}
