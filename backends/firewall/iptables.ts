/**
 * The iptables engine: our own chains in the tables of each family, by iptables-save and iptables-restore.
 *
 * Works with whichever variant (legacy or nft) the host's `iptables` is, which is the one that dockerd uses too.
 * Never runs iptables itself: one restore is one transaction for each table.
 */

import { FAMILIES, type Family } from "../../ipam/ip.ts";
import type { CommandRunner } from "./command.ts";
import type { Drift, FirewallEngine, RemoveOptions } from "./engine.ts";
import { type IptablesChange, isInUse, planIptablesChange, type WrittenForms } from "./iptables-diff.ts";
import { type RenderedChain, renderChains } from "./iptables-render.ts";
import { parseIptablesSave, type SavedTables } from "./iptables-save.ts";
import { EMPTY_PLAN, type FamilyRules, type FirewallPlan } from "./rules.ts";

/** How long a restore waits for another holder of the xtables lock. */
const LOCK_WAIT_SECONDS = 30;

const PROGRAM = { 4: "iptables", 6: "ip6tables" } as const satisfies Record<Family, string>;

/** The two sets of tables that a kernel may hold; "" is the one that the host's `iptables` stands for. */
export type IptablesVariant = "" | "-legacy" | "-nft";

export class IptablesEngine implements FirewallEngine {
  readonly kind = "iptables";
  readonly #runner: CommandRunner;
  readonly #variant: IptablesVariant;
  readonly #written: Readonly<Record<Family, WrittenForms>> = { 4: new Map(), 6: new Map() };

  constructor(runner: CommandRunner, variant: IptablesVariant = "") {
    this.#runner = runner;
    this.#variant = variant;
  }

  /** The engine of the tables that the host's `iptables` does not stand for; null where the tools have one set. */
  async otherVariant(signal?: AbortSignal): Promise<IptablesEngine | null> {
    const version =
      (await this.#runner.runIfInstalled("iptables-save", ["--version"], { signal }))?.stdout ?? "";
    if (version.includes("nf_tables")) return new IptablesEngine(this.#runner, "-legacy");
    return version.includes("legacy") ? new IptablesEngine(this.#runner, "-nft") : null;
  }

  async reconcile(plan: FirewallPlan, signal?: AbortSignal): Promise<readonly Drift[]> {
    return this.#forEachFamily(async (family) => {
      const wanted = plan.rules[family];
      const saved = await this.#save(family, wanted !== undefined, signal);
      return saved === null ? [] : this.#reconcileFamily(family, wanted, saved, signal);
    });
  }

  /**
   * For a host whose rules live elsewhere, in nft or in the other variant's tables: keeps only the accepts here, and
   * only in tables where somebody else filters, because nothing outside can overrule a DROP there. Everything else of
   * ours is removed.
   */
  async reconcileBeside(plan: FirewallPlan, signal?: AbortSignal): Promise<readonly Drift[]> {
    return this.#forEachFamily(async (family) => {
      const saved = await this.#save(family, false, signal);
      if (saved === null) return [];
      return this.#reconcileFamily(family, acceptsBeside(plan.rules[family], saved), saved, signal);
    });
  }

  async remove({ isDryRun = false, signal }: RemoveOptions = {}): Promise<readonly string[]> {
    if (!isDryRun) return this.reconcile(EMPTY_PLAN, signal);
    return this.#forEachFamily(async (family) => {
      const saved = await this.#save(family, false, signal);
      return saved === null ? [] : this.#change(family, renderChains(undefined), saved).drifts;
    });
  }

  /** Both families at once: they share no table. */
  async #forEachFamily(work: (family: Family) => Promise<readonly Drift[]>): Promise<readonly Drift[]> {
    return (await Promise.all(FAMILIES.map(work))).flat();
  }

  async #reconcileFamily(
    family: Family,
    wanted: FamilyRules | undefined,
    saved: SavedTables,
    signal: AbortSignal | undefined,
  ): Promise<readonly Drift[]> {
    const chains = renderChains(wanted);
    const change = this.#change(family, chains, saved);
    if (change.drifts.length === 0) return [];
    const args = ["--noflush", `--wait=${LOCK_WAIT_SECONDS}`];
    await this.#runner.succeed(`${PROGRAM[family]}${this.#variant}-restore`, args, {
      input: change.script,
      signal,
    });
    const after = await this.#save(family, true, signal);
    if (after !== null) this.#learn(family, chains, after);
    return change.drifts;
  }

  #change(family: Family, chains: readonly RenderedChain[], saved: SavedTables): IptablesChange {
    const change = planIptablesChange(chains, saved, this.#written[family]);
    return { ...change, drifts: change.drifts.map((drift) => `${PROGRAM[family]}${this.#variant} ${drift}`) };
  }

  /** Remembers how this version of iptables-save shows what was just written; see hasRules in the diff. */
  #learn(family: Family, chains: readonly RenderedChain[], saved: SavedTables): void {
    for (const { table, name, rules } of chains) {
      const shown = saved.get(table)?.get(name)?.rules ?? [];
      if (shown.length === rules.length) this.#written[family].set(name, { wanted: rules, saved: shown });
    }
  }

  /** The dump of one family; null when the kernel or the tools lack the family and nothing is wanted there. */
  async #save(family: Family, isNeeded: boolean, signal?: AbortSignal): Promise<SavedTables | null> {
    const command = `${PROGRAM[family]}${this.#variant}-save`;
    if (isNeeded) return parseIptablesSave(await this.#runner.succeed(command, [], { signal }));
    const result = await this.#runner.runIfInstalled(command, [], { signal });
    return result?.exitCode === 0 ? parseIptablesSave(result.stdout) : null;
  }
}

function acceptsBeside(rules: FamilyRules | undefined, saved: SavedTables): FamilyRules {
  const ours = renderChains(undefined);
  const { forward = [], input = [], "overlay-in": overlayIn = [] } = rules?.chains ?? {};
  return {
    chains: {
      ...(isInUse("filter", saved, ours) ? { forward, input } : {}),
      ...(isInUse("raw", saved, ours) ? { "overlay-in": overlayIn } : {}),
    },
    knownSources: null,
  };
}
