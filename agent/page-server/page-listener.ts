/**
 * Where the page listens. An address that this host does not have yet, or a port that another program holds, is tried
 * again: the network does not depend on its page.
 */

import type { Server } from "node:http";
import { type Clock, pause } from "../../ipam/clock.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { FailureSeries, type Logger } from "../../ipam/log.ts";
import type { UiSettings } from "../config/ui-settings.ts";
import { listenAt } from "../report/listener.ts";

const RETRY_MS = 5_000;

export interface PageListenerOptions {
  readonly server: Server;
  readonly settings: UiSettings;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class PageListener {
  readonly #options: PageListenerOptions;
  readonly #failures: FailureSeries;
  #problem: string | null = null;
  #isOpen = false;

  constructor(options: PageListenerOptions) {
    this.#options = options;
    this.#failures = new FailureSeries(
      options.logger,
      "the page is not served; retried",
      "the page is served",
    );
  }

  /** Why the page is not served, one sentence; null when it is. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Tries once. */
  async open(): Promise<void> {
    const { server, settings, logger } = this.#options;
    const { port, tokenFile } = settings;
    const address = String(settings.address);
    try {
      const taken = await listenAt(server, address, port, `ui ${address} port ${port}`);
      this.#isOpen = true;
      this.#problem = null;
      this.#failures.succeeded();
      const access = tokenFile === null ? "this host" : "by token";
      logger.info("serving the page", { address, port: taken, access });
    } catch (error) {
      this.#problem = `the page is not served, which is retried: ${errorMessage(error)}`;
      this.#failures.failed(error);
    }
  }

  /** Tries until it is open, or the signal fires. */
  async keepOpening(signal: AbortSignal): Promise<void> {
    while (!this.#isOpen && !signal.aborted) {
      await pause(this.#options.clock, RETRY_MS, signal);
      if (!signal.aborted) await this.open();
    }
  }
}
