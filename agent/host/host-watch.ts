/**
 * Follows the interface that carries the tunnel: after a change of the host, waits until the burst is over and has the
 * host examined again. An interface that cannot be used is a problem to show; nothing is withdrawn, and the other family
 * follows.
 */

import { type Clock, pause, Sleep } from "../../ipam/clock.ts";
import { errorMessage, InterfaceError } from "../../ipam/errors.ts";
import type { Logger } from "../../ipam/log.ts";

export interface HostWatchOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Why the interface could not carry the tunnel of each family at the start; null when it could. */
  readonly problem: string | null;
  /** Examines the host and follows what changed. Rejects with InterfaceError when a family has no usable one. */
  readonly follow: () => Promise<void>;
  /** Called after each examination. */
  readonly onLook?: () => void;
}

const CHANGES = "changes of this host's interfaces";
/** Changes come in bursts: link down, addresses gone, link up, addresses back. */
const SETTLE_MS = 100;
/** How often a host without a usable interface is examined without a notification. */
const RETRY_MS = 2000;
/** How often any other host is, in case something changed without a notification. */
const AUDIT_MS = 60_000;

export class HostWatch {
  readonly #options: HostWatchOptions;
  #problem: string | null;
  /** Whether the problem is one of the interface. */
  #isUnusable: boolean;
  #isChanged = false;
  readonly #sleep: Sleep;

  constructor(options: HostWatchOptions) {
    this.#options = options;
    this.#problem = options.problem;
    this.#isUnusable = options.problem !== null;
    this.#sleep = new Sleep(options.clock);
  }

  /** Why the interface cannot carry the tunnel now, or is not followed; null when all is well. */
  get problem(): string | null {
    return this.#problem;
  }

  /** Something about the host changed. */
  changed(): void {
    this.#isChanged = true;
    this.#sleep.wake();
  }

  /** Runs until `signal` fires. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#nextLook(signal);
      await pause(this.#options.clock, SETTLE_MS, signal);
      if (signal.aborted) return;
      this.#isChanged = false;
      await this.#look();
    }
  }

  async #look(): Promise<void> {
    const { logger, follow, onLook } = this.#options;
    try {
      await follow();
      if (this.#problem !== null)
        logger.info(this.#isUnusable ? "interface is usable again" : `${CHANGES} are followed`, {});
      this.#problem = null;
    } catch (error) {
      this.#noteFailure(error);
    }
    onLook?.();
  }

  /** Following also fails because of a full disk, or errors of the kernel. */
  #noteFailure(error: unknown): void {
    const reason = errorMessage(error);
    const isUnusable = error instanceof InterfaceError;
    const message = isUnusable
      ? "interface cannot be used; device, routes and address of its family stay as they are"
      : `${CHANGES} cannot be followed; retried`;
    if (this.#problem === null || isUnusable !== this.#isUnusable)
      this.#options.logger.error(message, { error: reason });
    this.#isUnusable = isUnusable;
    this.#problem = isUnusable ? reason : `${CHANGES} cannot be followed: ${reason}`;
  }

  async #nextLook(signal: AbortSignal): Promise<void> {
    if (this.#isChanged) return;
    await this.#sleep.for(this.#problem === null ? AUDIT_MS : RETRY_MS, signal);
  }
}
