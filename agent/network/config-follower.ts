/**
 * Puts the newest network configuration in force, or says why not. Configurations that are replaced while one is
 * applied are skipped; the store's other messages do not wait.
 */

import { type Clock, pause, Sleep } from "../../ipam/clock.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { errorMessage, InterfaceError, NoFreeSubnetError } from "../../ipam/errors.ts";
import type { Logger } from "../../ipam/log.ts";
import type { ConfigJudgement } from "./config-change.ts";

export interface ConfigFollowerOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** What the newest configuration means now. */
  readonly judge: () => ConfigJudgement;
  readonly apply: (config: NetworkConfig) => Promise<void>;
  /** Joins the network again with another lease. Rejects, and changes nothing, when this host cannot. */
  readonly rejoin: (config: NetworkConfig, signal: AbortSignal) => Promise<void>;
  /** Whether the host has no usable interface now; then the configuration is not to blame. */
  readonly isInterfaceLost: () => boolean;
  /** Called after each judgement. */
  readonly onChange: () => void;
}

/** Between two applications: a burst of changes costs a few of them. */
const SETTLE_MS = 100;
const RETRY_MS = 2_000;
/** In a full network: each look is a listing. */
const FULL_RETRY_MS = 30_000;

export class ConfigFollower {
  readonly #options: ConfigFollowerOptions;
  readonly #sleep: Sleep;
  #isDirty = false;
  #problem: string | null = null;

  constructor(options: ConfigFollowerOptions) {
    this.#options = options;
    this.#sleep = new Sleep(options.clock);
  }

  /** Why the newest configuration is not in force; null when it is. */
  get problem(): string | null {
    return this.#problem;
  }

  /** The store may hold another configuration. */
  changed(): void {
    this.#isDirty = true;
    this.#sleep.wake();
  }

  /** Runs until `signal` fires. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    let delayMs = Number.POSITIVE_INFINITY;
    while (!signal.aborted) {
      if (!this.#isDirty) await this.#sleep.for(delayMs, signal);
      if (signal.aborted) return;
      this.#isDirty = false;
      delayMs = await this.#follow(signal);
      await pause(clock, SETTLE_MS, signal);
    }
  }

  /** Returns after how many milliseconds a retry may help. */
  async #follow(signal: AbortSignal): Promise<number> {
    const { judge, apply, rejoin, isInterfaceLost } = this.#options;
    const { apply: next, isRejoin, problem } = judge();
    if (next === null) {
      this.#note(problem);
      return Number.POSITIVE_INFINITY;
    }
    try {
      await (isRejoin ? rejoin(next, signal) : apply(next));
      this.#note(null);
      return Number.POSITIVE_INFINITY;
    } catch (error) {
      if (signal.aborted || (error instanceof InterfaceError && isInterfaceLost())) return RETRY_MS;
      this.#note(`the network configuration in the store cannot be applied: ${errorMessage(error)}`);
      return error instanceof NoFreeSubnetError ? FULL_RETRY_MS : RETRY_MS;
    }
  }

  #note(problem: string | null): void {
    if (problem !== null && problem !== this.#problem)
      this.#options.logger.error("network configuration", { problem });
    if (problem === null && this.#problem !== null)
      this.#options.logger.info("network configuration is in force");
    this.#problem = problem;
    this.#options.onChange();
  }
}
