/**
 * Keeps the host's firewall equal to the newest plan: after each update, each change that somebody else makes,
 * and at regular intervals.
 *
 * One pass at a time; what happens during a pass only makes another one follow. Failures are retried at the
 * next event or audit and never end the guard. An audit looks at the rules only where they can have changed. On stop
 * the rules stay, but for the check of tunnel sources.
 */

import type { Clock } from "../../ipam/clock.ts";
import { FailureSeries, type Logger } from "../../ipam/log.ts";
import type { NetlinkMonitor } from "../netlink/monitor.ts";
import type { NetnsHandle } from "../netlink/netns.ts";
import { CommandRunner } from "./command.ts";
import type { Drift, EngineKind, RemoveOptions } from "./engine.ts";
import { FirewallError } from "./errors.ts";
import { watchFirewall } from "./events.ts";
import { Firewalld } from "./firewalld.ts";
import { FirewallGeneration } from "./generation.ts";
import { IptablesEngine } from "./iptables.ts";
import { NftEngine } from "./nft.ts";
import { requiresEngine, withoutSourceCheck } from "./plan.ts";
import { type FirewallRepair, RepairHistory } from "./repair-history.ts";
import type { FirewallPlan } from "./rules.ts";
import { chooseEngine, type FirewallChoice, installedEngines } from "./select.ts";

export interface FirewallGuardOptions {
  readonly choice: FirewallChoice;
  /** EnableNFTables of the network configuration, as it is at first. */
  readonly prefersNft: boolean;
  /** Seconds between full audits. */
  readonly resyncSeconds: number;
  readonly log: Logger;
  readonly clock: Clock;
  /** Called after each pass. `isRepair`: it put right what somebody else had changed. */
  readonly onPass?: (pass: { readonly isInSync: boolean; readonly isRepair: boolean }) => void;
  /** For another network namespace than the process's own: both, or none. */
  readonly commandPrefix?: readonly string[];
  readonly netns?: NetnsHandle;
}

export interface FirewallStatus {
  readonly choice: FirewallChoice;
  /** The engine in use; null with `none`, before the first pass, and where there is none and none is needed. */
  readonly engine: EngineKind | null;
  /** The last pass left the kernel equal to the plan. */
  readonly isInSync: boolean;
  /** Passes after the first that found and repaired somebody else's change. */
  readonly repairs: number;
  /** Null before the first. */
  readonly lastRepair: FirewallRepair | null;
  /** Repairs in a row since somebody keeps undoing our rules; 0 when nobody does. */
  readonly undone: number;
  readonly lastError: string | null;
  /** What is done differently from what was asked for; null when nothing is. */
  readonly note: string | null;
}

/**
 * The pause between a pass and the next one: short after a repair and for changes that concern us, else twice as
 * long after each pass that found nothing, so that a host where others change their rules all the time costs little.
 * It grows as well when somebody has undone very many repairs in a row.
 */
const MIN_PAUSE_MS = 20;
const MAX_PAUSE_MS = 640;
const QUICK_RETRIES = 4;
const QUICK_REPAIRS = 100;

const NO_TOOL = "neither nft nor iptables is installed: forged tunnel packets are not dropped";

export class FirewallGuard {
  readonly #options: FirewallGuardOptions;
  readonly #runner: CommandRunner;
  readonly #nft: NftEngine;
  readonly #iptables: IptablesEngine;
  readonly #firewalld: Firewalld;
  readonly #generation: FirewallGeneration;
  /** The kernel's generation in which the last pass found all in order; null when that cannot be told. */
  #orderlyGeneration: number | null = null;
  #otherIptables: IptablesEngine | null = null;
  readonly #failures: FailureSeries;
  readonly #deafness: FailureSeries;
  readonly #abort = new AbortController();
  #installed: ReadonlySet<EngineKind> | null = null;
  #engine: EngineKind | null = null;
  #plan: FirewallPlan | null = null;
  #monitor: NetlinkMonitor | null = null;
  #audit: NodeJS.Timeout | null = null;
  #running: Promise<void> | null = null;
  #isDirty = false;
  #isPlanNew = false;
  /** The plan was once what the kernel held: what differs from now on is somebody else's doing. */
  #isPlanHeld = false;
  #waiting: (() => void)[] = [];
  #endPause: (() => void) | null = null;
  #shortenPause: (() => void) | null = null;
  #pauseMs = MIN_PAUSE_MS;
  #prefersNft: boolean;
  #note: string | null = null;
  #isInSync = false;
  readonly #history = new RepairHistory();
  /** Who was the first to change what concerns us since the last pass; our own tools come after others. */
  #culprit: string | null = null;
  #lastError: unknown = null;

  constructor(options: FirewallGuardOptions) {
    this.#options = options;
    this.#prefersNft = options.prefersNft;
    this.#runner = new CommandRunner(options.commandPrefix);
    this.#nft = new NftEngine(this.#runner);
    this.#iptables = new IptablesEngine(this.#runner);
    this.#firewalld = new Firewalld(this.#runner);
    this.#generation = new FirewallGeneration(options.netns);
    this.#failures = new FailureSeries(options.log, "firewall is not in order", "firewall is in order again");
    this.#deafness = new FailureSeries(
      options.log,
      "firewall events are not available, audits only",
      "firewall events are available again",
    );
  }

  /** Begins to listen and to audit. Nothing is written before the first update. */
  start(): void {
    if (this.#options.choice === "none") return;
    this.#listen();
    this.setResyncSeconds(this.#options.resyncSeconds);
  }

  /** EnableNFTables as it is now; the next plan is carried out with the engine that follows from it. */
  setPreference(prefersNft: boolean): void {
    this.#prefersNft = prefersNft;
  }

  /** Audits at another interval from now on. */
  setResyncSeconds(seconds: number): void {
    if (this.#options.choice === "none" || this.#abort.signal.aborted) return;
    if (this.#audit !== null) clearInterval(this.#audit);
    this.#audit = setInterval(() => this.#auditOnce(), seconds * 1000);
    this.#audit.unref();
  }

  /** Takes a new plan and resolves when a pass with it has ended; `status` says how. Never rejects. */
  async update(plan: FirewallPlan): Promise<void> {
    if (this.#options.choice === "none" || this.#abort.signal.aborted) return;
    for (const warning of plan.warnings) this.#options.log.warn("firewall setting", { warning });
    this.#plan = plan;
    this.#isPlanNew = true;
    this.#isPlanHeld = false;
    const passed = new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#request();
    this.#endPause?.();
    await passed;
  }

  status(): FirewallStatus {
    const error = this.#lastError;
    return {
      choice: this.#options.choice,
      engine: this.#engine,
      isInSync: this.#isInSync,
      repairs: this.#history.count,
      lastRepair: this.#history.last,
      undone: this.#undone(),
      note: this.#note,
      lastError: error === null ? null : error instanceof Error ? error.message : String(error),
    };
  }

  /**
   * Ends listening and leaves the rules, but for the check of tunnel sources, which nobody would keep current. A tool
   * that still waits for a lock is ended, unless that check must go.
   */
  async stop(): Promise<void> {
    if (this.#audit !== null) clearInterval(this.#audit);
    this.#monitor?.close();
    this.#monitor = null;
    const plan = this.#plan;
    const checksSources = Object.values(plan?.rules ?? {}).some(({ knownSources }) => knownSources !== null);
    if (!checksSources) this.#abort.abort();
    this.#endPause?.();
    await this.#running;
    if (plan !== null && checksSources) await this.update({ ...withoutSourceCheck(plan), warnings: [] });
    this.#abort.abort();
    this.#generation.close();
  }

  /** Removes all that is ours from both engines and answers what it was; `isDryRun` only answers. */
  async remove(options: RemoveOptions = {}): Promise<readonly string[]> {
    const removed: string[] = [];
    const installed = await installedEngines(this.#runner);
    for (const engine of [this.#nft, this.#iptables]) {
      if (installed.has(engine.kind)) removed.push(...(await engine.remove(options)));
    }
    const other = await this.#iptables.otherVariant(options.signal);
    removed.push(...((await other?.remove(options)) ?? []), ...(await this.#firewalld.remove(options)));
    return removed;
  }

  #listen(): void {
    try {
      this.#monitor = watchFirewall({
        netns: this.#options.netns,
        onChange: (isUrgent, program) => {
          this.#culprit ??= program;
          this.#request();
          if (isUrgent) this.#shortenPause?.();
        },
        onError: (error) => this.#hearsNothing(error),
      });
      this.#monitor.unref();
      this.#deafness.succeeded();
    } catch (error) {
      this.#hearsNothing(error);
    }
  }

  /** A look at the rules costs several programs, and is for hosts on which something was written since the last one. */
  #auditOnce(): void {
    if (this.#monitor === null) this.#listen();
    const known = this.#orderlyGeneration;
    if (known === null || this.#generation.read() !== known) this.#request();
  }

  /** Until the next audit, which listens again. */
  #hearsNothing(error: unknown): void {
    this.#monitor = null;
    this.#deafness.failed(error);
  }

  #request(): void {
    this.#isDirty = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
  }

  async #run(): Promise<void> {
    this.#pauseMs = MIN_PAUSE_MS;
    while (this.#isDirty && this.#plan !== null && !this.#abort.signal.aborted) {
      this.#isDirty = false;
      const waiting = this.#waiting.splice(0);
      const drifts = await this.#pass(this.#plan);
      for (const resolve of waiting) resolve();
      const isQuickRepair = drifts.length > 0 && this.#undone() < QUICK_REPAIRS;
      this.#pauseMs = isQuickRepair ? MIN_PAUSE_MS : Math.min(this.#pauseMs * 2, MAX_PAUSE_MS);
      if (!this.#isPlanNew) await this.#pause();
      this.#shortenPause = null;
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      let timer = setTimeout(resolve, this.#pauseMs);
      let isShort = this.#pauseMs <= MIN_PAUSE_MS || this.#undone() >= QUICK_REPAIRS;
      this.#endPause = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#shortenPause = () => {
        if (isShort) return;
        isShort = true;
        clearTimeout(timer);
        timer = setTimeout(resolve, MIN_PAUSE_MS);
      };
    });
  }

  async #pass(plan: FirewallPlan): Promise<readonly Drift[]> {
    const isExpected = !this.#isPlanHeld;
    this.#isPlanNew = false;
    this.#orderlyGeneration = null;
    try {
      const generation = this.#generation.read();
      const drifts = await this.#reconcile(plan);
      this.#isInSync = true;
      this.#isPlanHeld = plan === this.#plan;
      this.#lastError = null;
      this.#failures.succeeded();
      if (drifts.length === 0) this.#orderlyGeneration = generation;
      const isRepair = drifts.length > 0 && !isExpected;
      if (isRepair) this.#noteRepair(drifts);
      else if (drifts.length > 0) this.#options.log.debug("firewall rules written", { changes: drifts });
      this.#options.onPass?.({ isInSync: true, isRepair });
      return drifts;
    } catch (error) {
      this.#isInSync = false;
      this.#lastError = error;
      if (error instanceof FirewallError && error.details.missing !== undefined) this.#installed = null;
      if (!this.#abort.signal.aborted) this.#failures.failed(error);
      this.#options.onPass?.({ isInSync: false, isRepair: false });
      // Others' transactions at the same moment make the tools fail once; the audit is for what lasts.
      if (this.#failures.count <= QUICK_RETRIES) this.#isDirty = true;
      return [];
    } finally {
      this.#culprit = null;
    }
  }

  async #reconcile(plan: FirewallPlan): Promise<readonly Drift[]> {
    const { signal } = this.#abort;
    const { choice, log } = this.#options;
    if (choice === "none") return [];
    this.#installed ??= await this.#findTools(signal);
    if (choice === "auto" && this.#installed.size === 0 && !requiresEngine(plan)) return this.#doWithout();
    this.#note = null;
    const engine = chooseEngine(choice, this.#prefersNft, this.#installed);
    if (engine !== this.#engine) log.info("firewall engine chosen", { engine, choice });
    this.#engine = engine;
    const drifts = await (engine === "nft" ? this.#nft : this.#iptables).reconcile(plan, signal);
    return [...drifts, ...(await this.#reconcileBeside(engine, this.#installed, plan))];
  }

  /** What belongs elsewhere than to the engine in use. All at once: no two of them touch the same tables. */
  async #reconcileBeside(
    engine: EngineKind,
    installed: ReadonlySet<EngineKind>,
    plan: FirewallPlan,
  ): Promise<readonly Drift[]> {
    const { signal } = this.#abort;
    const has = (kind: EngineKind): boolean => installed.has(kind);
    const drifts = await Promise.all([
      engine === "nft" && has("iptables") ? this.#iptables.reconcileBeside(plan, signal) : [],
      engine === "iptables" && has("nft") ? this.#nft.remove({ signal }) : [],
      // A packet must pass the tables of both variants, and one may hold what the host was switched away from.
      this.#otherIptables?.reconcileBeside(plan, signal) ?? [],
      has("nft") ? this.#firewalld.reconcile(plan, signal) : [],
    ]);
    return drifts.flat();
  }

  async #findTools(signal: AbortSignal): Promise<ReadonlySet<EngineKind>> {
    this.#otherIptables = await this.#iptables.otherVariant(signal);
    return await installedEngines(this.#runner);
  }

  /** No tool, and nothing asked for that needs one: packets of the network are forwarded as they are. */
  #doWithout(): readonly Drift[] {
    this.#installed = null;
    this.#engine = null;
    if (this.#note === null) this.#options.log.warn("firewall", { note: NO_TOOL });
    this.#note = NO_TOOL;
    return [];
  }

  #noteRepair(found: readonly Drift[]): void {
    const { log, clock } = this.#options;
    const by = this.#culprit;
    const beginsQuarrel = this.#history.record({ atMs: clock.monotonicMs(), found, by });
    const fields = { changes: found, ...(by === null ? {} : { by }) };
    if (beginsQuarrel) log.warn("firewall rules are undone again and again", fields);
    else if (this.#undone() > 0) log.debug("firewall rules repaired", fields);
    else log.info("firewall rules repaired", fields);
  }

  #undone(): number {
    return this.#history.undone(this.#options.clock.monotonicMs());
  }
}
