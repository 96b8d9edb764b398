/**
 * The host's firewall, which the networks of a daemon share: one guard, and one daemon per network namespace that may
 * write rules.
 */

import { FirewallGuard, type FirewallPass } from "../../backends/firewall/guard.ts";
import { JointPlans } from "../../backends/firewall/joint-plans.ts";
import { TulleError } from "../../ipam/errors.ts";
import { guarded } from "../../ipam/faults.ts";
import type { FirewallSettings } from "../config/config.ts";
import { type InstanceLock, lockFirewall } from "../host/instance-lock.ts";
import { AgentMetrics } from "../report/agent-metrics.ts";
import type { Runtime } from "./runtime.ts";

export interface ClaimedFirewall {
  readonly plans: JointPlans;
  /** Why this daemon writes no rules although it should; null when it does. */
  readonly obstacle: string | null;
}

export class HostFirewall {
  readonly #runtime: Pick<Runtime, "clock" | "logger" | "metrics" | "faults">;
  #settings: Pick<FirewallSettings, "engine" | "resyncSeconds">;
  #claimed: Promise<ClaimedFirewall> | null = null;
  #guard: FirewallGuard | null = null;
  #lock: InstanceLock | null = null;

  constructor(
    settings: Pick<FirewallSettings, "engine" | "resyncSeconds">,
    runtime: Pick<Runtime, "clock" | "logger" | "metrics" | "faults">,
  ) {
    this.#settings = settings;
    this.#runtime = runtime;
  }

  /** Takes the firewall for this daemon at the first call. Two daemons would overwrite each other's chains. */
  claim(): Promise<ClaimedFirewall> {
    this.#claimed ??= this.#claim().catch((error: unknown) => {
      this.#claimed = null;
      throw error;
    });
    return this.#claimed;
  }

  /** Puts the settings of a reload in force; the engine is that of the start. */
  setResyncSeconds(seconds: number): void {
    this.#settings = { ...this.#settings, resyncSeconds: seconds };
    this.#guard?.setResyncSeconds(seconds);
  }

  /** Ends the guard and leaves the rules. */
  async stop(): Promise<void> {
    await this.#guard?.stop();
    await this.#lock?.release();
  }

  async #claim(): Promise<ClaimedFirewall> {
    const { clock, logger, metrics, faults } = this.#runtime;
    const { engine } = this.#settings;
    const obstacle = engine === "none" ? null : await this.#takeLock();
    const report = new AgentMetrics(metrics);
    this.#guard = new FirewallGuard({
      choice: obstacle === null ? engine : "none",
      resyncSeconds: this.#settings.resyncSeconds,
      log: logger,
      clock,
      onPass: guarded(faults, "the firewall's metrics", (pass: FirewallPass) =>
        report.noteFirewallPass(pass),
      ),
    });
    this.#guard.start();
    return { plans: new JointPlans(this.#guard), obstacle };
  }

  async #takeLock(): Promise<string | null> {
    try {
      this.#lock = await lockFirewall();
      return null;
    } catch (error) {
      if (!(error instanceof TulleError)) throw error;
      this.#runtime.logger.error("firewall", { problem: error.message });
      return error.message;
    }
  }
}
