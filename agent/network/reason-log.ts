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
  readonly #logged = new Map<string, string>();

  constructor(logger: Logger, level: "warn" | "error", message: string) {
    this.#write = (text, fields) => logger[level](text, fields);
    this.#message = message;
  }

  /** Takes everything that is wrong at present; what was logged before and is still wrong is not logged again. */
  note(reasons: Iterable<Reason>): void {
    const now = new Map<string, string | null>([...reasons].map(({ key, reason }) => [key, reason]));
    for (const key of this.#logged.keys()) if (!now.has(key)) now.set(key, null);
    this.noteChanges(now);
  }

  /** Takes what changed since the call before; a null reason means that nothing is wrong any more. */
  noteChanges(changes: ReadonlyMap<string, string | null>): void {
    let count = 0;
    for (const [key, reason] of changes) {
      if (reason === null) this.#logged.delete(key);
      if (reason === null || this.#logged.get(key) === reason) continue;
      this.#logged.set(key, reason);
      count += 1;
      if (count <= MOST_LINES) this.#write(this.#message, { key, reason });
    }
    if (count > MOST_LINES)
      this.#write(`${this.#message}; tulle status lists more`, { more: count - MOST_LINES });
  }
}
