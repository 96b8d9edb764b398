/**
 * The firewall tools of a host: chooses the engine for the plans, and keeps what belongs elsewhere in step with it (the
 * other engine, the other variant of iptables, firewalld). guard.ts decides when.
 */

import type { Logger } from "../../ipam/log.ts";
import { CommandRunner } from "./command.ts";
import type { Drift, EngineKind, RemoveOptions } from "./engine.ts";
import { isPartial } from "./families.ts";
import { Firewalld } from "./firewalld.ts";
import { IptablesEngine } from "./iptables.ts";
import { Listings } from "./listings.ts";
import { NftEngine } from "./nft.ts";
import { requiresEngine } from "./plan.ts";
import { PortGuard } from "./port-guard.ts";
import { EMPTY_PLAN, type FirewallPlans } from "./rules.ts";
import { chooseEngine, installedEngines } from "./select.ts";

const NO_TOOL = "neither nft nor iptables is installed: forged tunnel packets are not dropped";

const NO_PORT_GUARD =
  "nft is not installed: containers of named networks can send frames with forged addresses; install nftables";

export interface ToolsetOptions {
  readonly choice: "auto" | EngineKind;
  readonly log: Logger;
  /** For another network namespace than the process's own. */
  readonly commandPrefix?: readonly string[];
  /** By default everything is listed each time. */
  readonly listings?: Listings;
}

export class Toolset {
  readonly #options: ToolsetOptions;
  readonly #runner: CommandRunner;
  readonly #nft: NftEngine;
  readonly #iptables: IptablesEngine;
  readonly #firewalld: Firewalld;
  readonly #ports: PortGuard;
  /** Undefined before the first look. */
  #otherIptables: IptablesEngine | null | undefined;
  /** Null before the first look and after one that found a tool missing. */
  #installed: ReadonlySet<EngineKind> | null = null;
  #engine: EngineKind | null = null;
  #note: string | null = null;

  constructor(options: ToolsetOptions) {
    this.#options = options;
    const { commandPrefix, listings = new Listings() } = options;
    this.#runner = new CommandRunner(commandPrefix);
    this.#nft = new NftEngine(this.#runner, listings);
    this.#iptables = new IptablesEngine(this.#runner, listings);
    this.#firewalld = new Firewalld(this.#runner, listings);
    this.#ports = new PortGuard(this.#runner, listings);
  }

  /** The engine in use; null before the first reconcile, and where there is none and none is needed. */
  get engine(): EngineKind | null {
    return this.#engine;
  }

  /** What differs from the settings; null when nothing does. */
  get note(): string | null {
    return this.#note;
  }

  /** Whether a tool that was missing has been installed since; the next reconcile then looks for all. Never rejects. */
  async hasNewTool(): Promise<boolean> {
    if (this.#note === null) return false;
    const installed = await installedEngines(this.#runner).catch(() => new Set<EngineKind>());
    const isNew = this.#note === NO_TOOL ? installed.size > 0 : installed.has("nft");
    if (isNew) this.forget();
    return isNew;
  }

  /** Looks for the tools again at the next reconcile. */
  forget(): void {
    this.#installed = null;
    this.#otherIptables = undefined;
  }

  /** Makes the host's firewall equal to `plans` and returns what differed. FirewallError. */
  async reconcile(plans: FirewallPlans, signal: AbortSignal): Promise<readonly Drift[]> {
    const { choice, log } = this.#options;
    this.#installed ??= await installedEngines(this.#runner);
    const all = [...plans.values()];
    if (choice === "auto" && this.#installed.size === 0 && !all.some(requiresEngine))
      return this.#doWithout();
    const hasPorts = all.some(({ ports }) => ports !== undefined);
    this.#note = hasPorts && !this.#installed.has("nft") ? NO_PORT_GUARD : null;
    const prefersNft = all.some((plan) => plan.prefersNft);
    const engine = chooseEngine(choice, prefersNft, this.#installed);
    if (engine !== this.#engine) log.info("firewall engine chosen", { engine, choice });
    this.#engine = engine;
    const hasIptables = this.#iptables.mayHaveTables;
    // At once: a container waits for the rules of its port, which are in a table of their own.
    const [main, ports] = await Promise.allSettled([
      (engine === "nft" ? this.#nft : this.#iptables).reconcile(plans, signal),
      this.#installed.has("nft") ? this.#ports.reconcile(plans, signal) : [],
    ]);
    if (main.status === "rejected" && !isPartial(main.reason, plans)) throw main.reason;
    const other = hasIptables ? await this.#otherVariant(signal) : null;
    const beside = await this.#reconcileBeside(engine, this.#installed, other, plans, signal);
    if (main.status === "rejected") throw main.reason;
    if (ports.status === "rejected") throw ports.reason;
    return [...main.value, ...ports.value, ...beside];
  }

  /** Removes all rules of ours from both engines and returns what they were; `isDryRun` only returns. */
  async remove(options: RemoveOptions = {}): Promise<readonly string[]> {
    const removed: string[] = [];
    const installed = await installedEngines(this.#runner);
    for (const engine of [this.#nft, this.#iptables]) {
      if (installed.has(engine.kind)) removed.push(...(await engine.remove(options)));
    }
    if (installed.has("nft")) removed.push(...(await this.#ports.remove(options)));
    const other = await this.#iptables.otherVariant(options.signal);
    removed.push(...((await other?.remove(options)) ?? []), ...(await this.#firewalld.remove(options)));
    return removed;
  }

  /** What belongs elsewhere than to the engine in use. All at once: no two of them touch the same tables. */
  async #reconcileBeside(
    engine: EngineKind,
    installed: ReadonlySet<EngineKind>,
    other: IptablesEngine | null,
    plans: FirewallPlans,
    signal: AbortSignal,
  ): Promise<readonly Drift[]> {
    const has = (kind: EngineKind): boolean => installed.has(kind);
    const none = new Map([...plans.keys()].map((network) => [network, EMPTY_PLAN]));
    const drifts = await Promise.all([
      engine === "nft" && has("iptables") ? this.#iptables.reconcileBeside(plans, signal) : [],
      engine === "iptables" && has("nft") ? this.#nft.reconcile(none, signal) : [],
      // A packet passes the tables of both variants, and one may hold the rules of an earlier choice.
      other?.reconcileBeside(plans, signal) ?? [],
      has("nft") ? this.#firewalld.reconcile(plans, signal) : [],
    ]);
    return drifts.flat();
  }

  /** Null where the tools have one set of tables. */
  async #otherVariant(signal: AbortSignal): Promise<IptablesEngine | null> {
    if (this.#otherIptables === undefined) this.#otherIptables = await this.#iptables.otherVariant(signal);
    return this.#otherIptables;
  }

  /** Without any tool, and without a setting that needs one, packets of the network are forwarded as they are. */
  #doWithout(): readonly Drift[] {
    this.#installed = null;
    this.#engine = null;
    if (this.#note === null) this.#options.log.warn("firewall", { note: NO_TOOL });
    this.#note = NO_TOOL;
    return [];
  }
}
