/** What a person should see of the driver's decisions, newest last: in the log at once, in the status for a while. */

import type { Logger } from "../../ipam/log.ts";

export interface Notice {
  /** ISO 8601. */
  readonly time: string;
  readonly network: string;
  readonly text: string;
}

const KEPT = 50;

export class Notices {
  readonly #logger: Logger;
  readonly #dateMs: () => number;
  readonly #list: Notice[] = [];

  constructor(logger: Logger, dateMs: () => number) {
    this.#logger = logger;
    this.#dateMs = dateMs;
  }

  get list(): readonly Notice[] {
    return this.#list;
  }

  /** One sentence without a full stop about the network of this name. */
  add(network: string, text: string): void {
    this.#logger.warn("docker network", { network, notice: text });
    if (this.#list.at(-1)?.network === network && this.#list.at(-1)?.text === text) this.#list.pop();
    this.#list.push({ time: new Date(this.#dateMs()).toISOString(), network, text });
    if (this.#list.length > KEPT) this.#list.shift();
  }
}
