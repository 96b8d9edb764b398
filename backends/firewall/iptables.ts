/**
 * The iptables engine: our own chains in the tables of each family, by iptables-save and iptables-restore.
 *
 * Works with whichever variant (legacy or nft) the host's `iptables` is, which is the one that dockerd uses too.
 * Never runs iptables itself: one restore is one transaction for each table.
 */

import { FAMILIES, type Family } from "../../ipam/addresses/ip.ts";
import type { CommandRunner } from "./command.ts";
import type { Drift, FirewallEngine, RemoveOptions } from "./engine.ts";
import {
  type IptablesChange,
  isInUse,
  isSameList,
  planIptablesChange,
  type WrittenForms,
} from "./iptables-diff.ts";
import { type RenderedChain, renderChains } from "./iptables-render.ts";
import { parseIptablesSave, type SavedTables } from "./iptables-save.ts";
import { type ChainRole, EMPTY_PLAN, type FamilyRules, type FirewallPlan } from "./rules.ts";

/** How long a restore waits for another holder of the xtables lock. */
const LOCK_WAIT_SECONDS = 30;

const PROGRAM = { 4: "iptables", 6: "ip6tables" } as const satisfies Record<Family, string>;

/** The two sets of tables that a kernel may hold; "" is the one that the host's `iptables` stands for. */
export type IptablesVariant = "" | "-legacy" | "-nft";

export class IptablesEngine implements FirewallEngine {
  readonly kind = "iptables";
  readonly #runner: CommandRunner;
  readonly #variant: IptablesVariant;
  readonly #cleared = new Set<Family>();
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
      if (wanted === undefined) return await this.#clear(family, signal);
      this.#cleared.delete(family);
      const saved = await this.#save(family, signal);
      return await this.#reconcileFamily(family, withoutNeedless(wanted, saved), saved, signal);
    });
  }

  /** Removes what is ours of a family that is not wanted. Once is enough: what comes later is somebody else's. */
  async #clear(family: Family, signal?: AbortSignal): Promise<readonly Drift[]> {
    if (this.#cleared.has(family)) return [];
    const saved = await this.#saveIfThere(family, signal);
    const drifts = saved === null ? [] : await this.#reconcileFamily(family, undefined, saved, signal);
    this.#cleared.add(family);
    return drifts;
  }

  /**
   * For a host whose rules live elsewhere, in nft or in the other variant's tables: keeps only the accepts here, and
   * only in tables where somebody else filters, because nothing outside can overrule a DROP there. Everything else of
   * ours is removed.
   */
  async reconcileBeside(plan: FirewallPlan, signal?: AbortSignal): Promise<readonly Drift[]> {
    return this.#forEachFamily(async (family) => {
      const wanted = plan.rules[family];
      if (wanted === undefined) return await this.#clear(family, signal);
      this.#cleared.delete(family);
      const saved = await this.#saveIfThere(family, signal);
      if (saved === null) return [];
      return await this.#reconcileFamily(family, acceptsBeside(wanted, saved), saved, signal);
    });
  }

  async remove({ isDryRun = false, signal }: RemoveOptions = {}): Promise<readonly string[]> {
    if (!isDryRun) {
      this.#cleared.clear();
      return this.reconcile(EMPTY_PLAN, signal);
    }
    return this.#forEachFamily(async (family) => {
      const saved = await this.#saveIfThere(family, signal);
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
    const shown = await this.#restore(family, change.script, signal);
    const rest = this.#change(family, chains, shown);
    if (rest.drifts.length > 0) {
      this.#learn(family, chains, shown, await this.#restore(family, rest.script, signal));
    }
    return change.drifts;
  }

  /** Runs a script and answers the dump that follows. */
  async #restore(family: Family, script: string, signal?: AbortSignal): Promise<SavedTables> {
    const args = ["--noflush", `--wait=${LOCK_WAIT_SECONDS}`];
    await this.#runner.succeed(`${PROGRAM[family]}${this.#variant}-restore`, args, { input: script, signal });
    return await this.#save(family, signal);
  }

  #change(family: Family, chains: readonly RenderedChain[], saved: SavedTables): IptablesChange {
    const change = planIptablesChange(chains, saved, this.#written[family]);
    return { ...change, drifts: change.drifts.map((drift) => `${PROGRAM[family]}${this.#variant} ${drift}`) };
  }

  /**
   * Remembers how this version of iptables-save spells what it showed after both of two restores: once might be
   * somebody's edit.
   */
  #learn(family: Family, chains: readonly RenderedChain[], first: SavedTables, second: SavedTables): void {
    for (const { table, name, rules } of chains) {
      const shown = second.get(table)?.get(name)?.rules ?? [];
      if (shown.length !== rules.length || !isSameList(shown, first.get(table)?.get(name)?.rules ?? []))
        continue;
      this.#written[family].set(name, { wanted: rules, saved: shown });
    }
  }

  async #save(family: Family, signal?: AbortSignal): Promise<SavedTables> {
    return parseIptablesSave(await this.#runner.succeed(this.#saveCommand(family), [], { signal }));
  }

  /** The dump of one family; null when the kernel or the tools lack it. */
  async #saveIfThere(family: Family, signal?: AbortSignal): Promise<SavedTables | null> {
    const result = await this.#runner.runIfInstalled(this.#saveCommand(family), [], { signal });
    return result?.exitCode === 0 ? parseIptablesSave(result.stdout) : null;
  }

  #saveCommand(family: Family): string {
    return `${PROGRAM[family]}${this.#variant}-save`;
  }
}

/** Each rule costs every packet: an accept in the raw table is there only while somebody drops there. */
function withoutNeedless(wanted: FamilyRules, saved: SavedTables): FamilyRules {
  if (isInUse("raw", saved, renderChains(undefined))) return wanted;
  return { ...wanted, chains: { ...wanted.chains, "overlay-in": [] } };
}

function acceptsBeside({ chains }: FamilyRules, saved: SavedTables): FamilyRules {
  const ours = renderChains(undefined);
  return {
    chains: {
      ...(isInUse("filter", saved, ours) ? pick(chains, "forward", "docker-user", "input") : {}),
      ...(isInUse("raw", saved, ours) ? pick(chains, "overlay-in") : {}),
    },
    gates: {},
    knownSources: null,
  };
}

function pick(chains: FamilyRules["chains"], ...roles: readonly ChainRole[]): FamilyRules["chains"] {
  return Object.fromEntries(roles.map((role) => [role, chains[role] ?? []]));
}
