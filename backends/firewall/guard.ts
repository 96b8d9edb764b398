/**
 * Keeps the host's firewall equal to the newest plans of all networks: after each update, each foreign change, and at
 * regular intervals. One guard and one look at the kernel serve all networks.
 *
 * One pass at a time; an event during a pass only makes another one follow. A failed pass is retried and never ends the
 * guard. An audit runs a pass only where the rules can have changed. On stop the rules stay.
 */

import { type Clock, Sleep } from "../../ipam/clock.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { FailureSeries, type Logger } from "../../ipam/log.ts";
import type { NetlinkMonitor } from "../netlink/monitor.ts";
import type { NetnsHandle } from "../netlink/netns.ts";
import type { Drift, EngineKind } from "./engine.ts";
import { FirewallError } from "./errors.ts";
import { type FirewallChange, watchFirewall } from "./events.ts";
import { KernelFacts } from "./kernel-facts.ts";
import { Listings } from "./listings.ts";
import type { NetworkName } from "./names.ts";
import { type FirewallRepair, RepairHistory } from "./repair-history.ts";
import type { FirewallPlan, FirewallPlans } from "./rules.ts";
import type { FirewallChoice } from "./select.ts";
import { Toolset } from "./toolset.ts";

export interface FirewallPass {
  /** The kernel is equal to the plans. */
  readonly isInSync: boolean;
  /** It repaired a foreign change. */
  readonly isRepair: boolean;
}

export interface FirewallGuardOptions {
  readonly choice: FirewallChoice;
  /** Seconds between audits. */
  readonly resyncSeconds: number;
  readonly log: Logger;
  readonly clock: Clock;
  /** Called after each pass; must not throw. */
  readonly onPass?: (pass: FirewallPass) => void;
  /** For another network namespace than the process's own: both, or none. */
  readonly commandPrefix?: readonly string[];
  readonly netns?: NetnsHandle;
}

export interface FirewallStatus {
  readonly choice: FirewallChoice;
  /** The engine in use; null with `none`, before the first pass, and where there is none and none is needed. */
  readonly engine: EngineKind | null;
  /** The last pass left the kernel equal to the plans. */
  readonly isInSync: boolean;
  /** Passes after the first that found and repaired a foreign change. */
  readonly repairs: number;
  /** Null before the first. */
  readonly lastRepair: FirewallRepair | null;
  /** Repairs in a row since another program keeps undoing our rules; 0 while none does. */
  readonly undone: number;
  readonly lastError: string | null;
  /** What differs from the settings; null when nothing does. */
  readonly note: string | null;
}

/**
 * The pause after a pass: short after a repair and for changes that concern us, else twice as long after each pass that
 * found nothing, so that a host on which other programs change their rules all the time costs little. It also grows
 * after very many repairs in a row.
 */
const MIN_PAUSE_MS = 20;
const MAX_PAUSE_MS = 640;
const QUICK_RETRIES = 4;
const QUICK_REPAIRS = 100;

export class FirewallGuard {
  readonly #options: FirewallGuardOptions;
  /** Null with `none`. */
  readonly #tools: Toolset | null;
  readonly #facts: KernelFacts;
  readonly #listings: Listings;
  readonly #failures: FailureSeries;
  readonly #deafness: FailureSeries;
  readonly #history = new RepairHistory();
  readonly #abort = new AbortController();
  readonly #repairSleep: Sleep;
  readonly #auditSleep: Sleep;
  #resyncSeconds: number;
  /** The kernel's generation in which the last pass found no difference; null when unknown. */
  #orderlyGeneration: number | null = null;
  #plans: FirewallPlans = new Map();
  #monitor: NetlinkMonitor | null = null;
  #isAuditing = false;
  #running: Promise<void> | null = null;
  #isPassing = false;
  #isDirty = false;
  #isPlanNew = false;
  /** The kernel once held these plans: any later difference is a foreign change. */
  #isPlanHeld = false;
  #isUrgent = false;
  #waiting: (() => void)[] = [];
  #isInSync = false;
  /** The first program that changed what concerns us since the last pass; our own tools come after it. */
  #culprit: string | null = null;
  #lastError: string | null = null;

  constructor(options: FirewallGuardOptions) {
    const { choice, log, clock, resyncSeconds } = options;
    this.#options = options;
    this.#resyncSeconds = resyncSeconds;
    this.#facts = new KernelFacts(options.netns);
    this.#listings = new Listings(this.#facts);
    this.#tools = choice === "none" ? null : new Toolset({ ...options, choice, listings: this.#listings });
    this.#repairSleep = new Sleep(clock);
    this.#auditSleep = new Sleep(clock);
    this.#failures = new FailureSeries(log, "firewall is not in order", "firewall is in order again");
    this.#deafness = new FailureSeries(
      log,
      "firewall events are not available, audits only",
      "firewall events are available again",
    );
  }

  /** Begins to listen and to audit; a second call does nothing. Nothing is written before the first update. */
  start(): void {
    if (this.#tools === null || this.#isAuditing || this.#abort.signal.aborted) return;
    this.#isAuditing = true;
    this.#listen();
    void this.#audit(this.#abort.signal);
  }

  /** Audits at another interval from now on. */
  setResyncSeconds(seconds: number): void {
    this.#resyncSeconds = seconds;
    this.#auditSleep.wake();
  }

  /** Takes a network's new plan and resolves when a pass with it has ended; `status` has the result. Never rejects. */
  async update(network: NetworkName, plan: FirewallPlan): Promise<void> {
    if (this.#tools === null || this.#abort.signal.aborted) return;
    for (const warning of plan.warnings) this.#options.log.warn("firewall setting", { warning });
    this.#plans = new Map([...this.#plans, [network, plan]]);
    this.#isPlanNew = true;
    this.#isPlanHeld = false;
    const passed = new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#request();
    this.#repairSleep.wake();
    await passed;
  }

  status(): FirewallStatus {
    return {
      choice: this.#options.choice,
      engine: this.#tools?.engine ?? null,
      isInSync: this.#isInSync,
      repairs: this.#history.count,
      lastRepair: this.#history.last,
      undone: this.#undone(),
      note: this.#tools?.note ?? null,
      lastError: this.#lastError,
    };
  }

  /** Ends listening and leaves the rules. A tool that still waits for a lock is ended. */
  async stop(): Promise<void> {
    this.#abort.abort();
    this.#monitor?.close();
    this.#monitor = null;
    await this.#running;
    this.#facts.close();
  }

  #listen(): void {
    try {
      this.#monitor = watchFirewall({
        netns: this.#options.netns,
        onChange: (change) => this.#noteChange(change),
        onError: (error) => this.#loseEvents(error),
      });
      this.#monitor.unref();
      this.#listings.follow(true);
      this.#deafness.succeeded();
    } catch (error) {
      this.#loseEvents(error);
    }
  }

  #noteChange({ isUrgent, program, tables }: FirewallChange): void {
    this.#listings.noteChange(tables);
    this.#culprit ??= program;
    this.#request();
    if (!isUrgent || this.#isUrgent || this.#undone() >= QUICK_REPAIRS) return;
    this.#isUrgent = true;
    this.#repairSleep.wake();
  }

  /** Until the next audit, which listens again. */
  #loseEvents(error: unknown): void {
    this.#monitor = null;
    this.#listings.follow(false);
    this.#deafness.failed(error);
  }

  async #audit(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#auditSleep.for(this.#resyncSeconds * 1000, signal);
      // That a program comes changes nothing in the kernel.
      const isToolNew = (await this.#tools?.hasNewTool()) === true;
      if (signal.aborted) return;
      if (isToolNew) this.compareAll();
      this.#look();
    }
  }

  /** Never throws. A pass may start several programs, so it runs only when the kernel's generation has changed. */
  #look(): void {
    if (this.#monitor === null) this.#listen();
    this.#monitor?.drain();
    if (this.#isPassing || this.#isDirty) return;
    const known = this.#orderlyGeneration;
    if (known === null || this.#facts.generation() !== known) this.compareAll();
  }

  /** Has everything listed and compared: an event may have been lost. */
  compareAll(): void {
    this.#listings.noteChange(null);
    this.#request();
  }

  #request(): void {
    this.#isDirty = true;
    if (this.#plans.size > 0 && !this.#abort.signal.aborted) this.#running ??= this.#run();
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { signal } = this.#abort;
    let pauseMs = MIN_PAUSE_MS;
    // The notification that asked for this is still being handled: draining now would begin a second run.
    await Promise.resolve();
    while (this.#isDirty && !signal.aborted) {
      // What has changed until now is listed in this pass and needs no other one.
      this.#monitor?.drain();
      this.#isDirty = false;
      this.#isPlanNew = false;
      const waiting = this.#waiting.splice(0);
      const drifts = await this.#pass(this.#plans);
      for (const resolve of waiting) resolve();
      const isQuickRepair = drifts.length > 0 && this.#undone() < QUICK_REPAIRS;
      pauseMs = isQuickRepair ? MIN_PAUSE_MS : Math.min(pauseMs * 2, MAX_PAUSE_MS);
      await this.#pause(pauseMs, signal);
    }
    for (const resolve of this.#waiting.splice(0)) resolve();
    this.#running = null;
  }

  /** A new plan ends the pause; an urgent change shortens it. */
  async #pause(pauseMs: number, signal: AbortSignal): Promise<void> {
    const isShort = pauseMs <= MIN_PAUSE_MS;
    this.#isUrgent = isShort;
    if (!this.#isPlanNew) await this.#repairSleep.for(pauseMs, signal);
    if (this.#isUrgent && !isShort && !this.#isPlanNew) await this.#repairSleep.for(MIN_PAUSE_MS, signal);
  }

  async #pass(plans: FirewallPlans): Promise<readonly Drift[]> {
    const isExpected = !this.#isPlanHeld;
    this.#isPassing = true;
    this.#orderlyGeneration = null;
    try {
      const generation = this.#facts.generation();
      const drifts = (await this.#tools?.reconcile(plans, this.#abort.signal)) ?? [];
      this.#isInSync = true;
      this.#isPlanHeld = plans === this.#plans;
      this.#lastError = null;
      this.#failures.succeeded();
      if (drifts.length === 0) this.#orderlyGeneration = generation;
      const isRepair = drifts.length > 0 && !isExpected;
      if (isRepair) this.#noteRepair(drifts);
      else if (drifts.length > 0) this.#options.log.debug("firewall rules written", { changes: drifts });
      this.#options.onPass?.({ isInSync: true, isRepair });
      return drifts;
    } catch (error) {
      this.#noteFailure(error);
      return [];
    } finally {
      this.#isPassing = false;
      this.#culprit = null;
    }
  }

  #noteFailure(error: unknown): void {
    this.#isInSync = false;
    this.#listings.noteChange(null);
    this.#lastError = errorMessage(error);
    if (error instanceof FirewallError && error.details.missing !== undefined) this.#tools?.forget();
    if (!this.#abort.signal.aborted) this.#failures.failed(error);
    this.#options.onPass?.({ isInSync: false, isRepair: false });
    // Foreign transactions at the same moment make the tools fail once; lasting failures wait for the audit.
    if (this.#failures.count <= QUICK_RETRIES) this.#isDirty = true;
  }

  #noteRepair(found: readonly Drift[]): void {
    const { log, clock } = this.#options;
    const by = this.#culprit;
    const beginsContest = this.#history.record({ atMs: clock.monotonicMs(), found, by });
    const fields = { changes: found, ...(by === null ? {} : { by }) };
    if (beginsContest) log.warn("firewall rules are undone repeatedly", fields);
    else if (this.#undone() > 0) log.debug("firewall rules repaired", fields);
    else log.info("firewall rules repaired", fields);
  }

  #undone(): number {
    return this.#history.undone(this.#options.clock.monotonicMs());
  }
}
