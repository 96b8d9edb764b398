/** Says in the log what is wrong with each of many things: each reason once, and only so many one by one. */

import type { Logger } from "../../ipam/log.ts";

export interface Reason {
  /** Of a lease, or of an object in the kernel. */
  readonly key: string;
  readonly reason: string;
}

/** More than these at a time are told as a number: the list is in `tulle status`. */
const MOST_LINES = 10;

export class ReasonLog {
  readonly #say: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  readonly #message: string;
  #said: ReadonlyMap<string, string> = new Map();

  constructor(logger: Logger, level: "warn" | "error", message: string) {
    this.#say = (text, fields) => logger[level](text, fields);
    this.#message = message;
  }

  /** Takes everything that is wrong now. */
  note(reasons: Iterable<Reason>): void {
    const now = new Map([...reasons].map(({ key, reason }) => [key, reason]));
    const fresh = [...now].filter(([key, reason]) => this.#said.get(key) !== reason);
    for (const [key, reason] of fresh.slice(0, MOST_LINES)) this.#say(this.#message, { key, reason });
    const more = fresh.length - MOST_LINES;
    if (more > 0) this.#say(`${this.#message}; tulle status lists all`, { more });
    this.#said = now;
  }
}
