/** Logs what is wrong with each of many objects: each reason once, and at most a few lines at a time. */

import type { Logger } from "../../ipam/log.ts";

export interface Reason {
  /** Of a lease, or of an object in the kernel. */
  readonly key: string;
  readonly reason: string;
}

/** Of more than these at a time only the number is logged. */
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
