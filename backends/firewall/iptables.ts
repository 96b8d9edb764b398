/**
 * The iptables engine: our own chains in the tables of each family, through iptables-save and iptables-restore.
 *
 * Works with the variant (legacy or nft) that the host's `iptables` is, which is the one that dockerd uses too. Never
 * runs iptables itself: one restore is one transaction for each table.
 */

import { isDeepStrictEqual } from "node:util";
import { FAMILIES, type Family } from "../../ipam/addresses/ip.ts";
import type { CommandRunner } from "./command.ts";
import type { Drift, FirewallEngine, RemoveOptions } from "./engine.ts";
import { forEachFamily, isWanted } from "./families.ts";
import {
  type IptablesChange,
  isInUse,
  isSameList,
  isUsed,
  planIptablesChange,
  type WrittenForms,
} from "./iptables-diff.ts";
import {
  IPTABLES_CHAINS,
  isFlannelChain,
  networksOfChains,
  type RenderedChain,
  renderChains,
} from "./iptables-render.ts";
import { parseIptablesSave, type SavedTables } from "./iptables-save.ts";
import { Listings, type Shown } from "./listings.ts";
import { type NetworkName, networksOf } from "./names.ts";
import type { ChainRole, FamilyRules, FirewallPlans } from "./rules.ts";

/** How long a restore waits for another holder of the xtables lock. */
const LOCK_WAIT_SECONDS = 30;

/** Where iptables-nft keeps its tables: their family and their names. */
const NFT_FAMILY = { 4: "ip", 6: "ip6" } as const satisfies Record<Family, string>;
const NFT_NAMES = ["filter", "nat", "mangle", "raw", "security"];

const PROGRAM = { 4: "iptables", 6: "ip6tables" } as const satisfies Record<Family, string>;

const NO_TABLES: SavedTables = new Map();

/** The two sets of tables that a kernel may hold; "" is the one that the host's `iptables` uses. */
export type IptablesVariant = "" | "-legacy" | "-nft";

export class IptablesEngine implements FirewallEngine {
  readonly kind = "iptables";
  readonly #runner: CommandRunner;
  readonly #listings: Listings;
  readonly #variant: IptablesVariant;
  /** A dump said that this is the nft variant. */
  #isNft = false;
  /** Networks without rules of a family, whose chains have been removed: once, because later ones are not ours. */
  readonly #cleared: Readonly<Record<Family, Set<NetworkName>>> = { 4: new Set(), 6: new Set() };
  /** Families whose table `filter` has held foreign rules. */
  readonly #filtering = new Set<Family>();
  readonly #written: Readonly<Record<Family, WrittenForms>> = { 4: new Map(), 6: new Map() };
  /** What was written last and not listed since. */
  readonly #unconfirmed = new Map<Family, readonly RenderedChain[]>();

  constructor(runner: CommandRunner, listings = new Listings(), variant: IptablesVariant = "") {
    this.#runner = runner;
    this.#listings = listings;
    this.#variant = variant;
  }

  /** True unless the kernel has no table of either variant. */
  get mayHaveTables(): boolean {
    return FAMILIES.some((family) => this.#listings.mayShow({ nft: isOf(family), legacy: family }));
  }

  /** The engine of the tables that the host's `iptables` does not use; null where the tools have one set. */
  async otherVariant(signal?: AbortSignal): Promise<IptablesEngine | null> {
    const other = (variant: IptablesVariant) => new IptablesEngine(this.#runner, this.#listings, variant);
    if (this.#isNft) return other("-legacy");
    const version =
      (await this.#runner.runIfInstalled("iptables-save", ["--version"], { signal }))?.stdout ?? "";
    if (version.includes("nf_tables")) return other("-legacy");
    return version.includes("legacy") ? other("-nft") : null;
  }

  async reconcile(plans: FirewallPlans, signal?: AbortSignal): Promise<readonly Drift[]> {
    return forEachFamily(async (family) => {
      if (!isWanted(plans, family)) return await this.#clear(plans, family, signal);
      return await this.#reconcileFamily(
        plans,
        family,
        withoutNeedless,
        await this.#save(family, signal),
        signal,
      );
    });
  }

  /**
   * For a host whose rules are elsewhere, in nft or in the other variant's tables: keeps only the accepts here, and only
   * in tables with foreign rules, because no rule elsewhere overrides a DROP there. All other chains of ours are removed.
   * Foreign rules may come and go, as with a VPN: from the first of them on the accepts stay.
   */
  async reconcileBeside(plans: FirewallPlans, signal?: AbortSignal): Promise<readonly Drift[]> {
    return forEachFamily(async (family) => {
      if (!isWanted(plans, family)) return await this.#clear(plans, family, signal);
      const saved = await this.#saveIfThere(family, signal);
      if (saved === null) return [];
      if (isInUse("filter", saved)) this.#filtering.add(family);
      const reduce = this.#filtering.has(family) ? acceptsBeside : acceptsInRaw;
      return await this.#reconcileFamily(plans, family, reduce, saved, signal);
    });
  }

  async remove({
    isDryRun = false,
    keepsFlannels = false,
    signal,
  }: RemoveOptions = {}): Promise<readonly string[]> {
    return forEachFamily(async (family) => {
      const saved = await this.#saveIfThere(family, signal);
      if (saved === null) return [];
      const names = [...saved.values()].flatMap((table) => [...table.keys()]);
      const all = [...networksOfChains(names)].flatMap((network) => renderChains(undefined, network));
      const chains = keepsFlannels ? all.filter(({ name }) => !isFlannelChain(name)) : all;
      if (isDryRun) return this.#change(family, chains, saved).drifts;
      return await this.#write(family, chains, saved, signal);
    });
  }

  /** Removes what is ours of a family that no network wants. */
  async #clear(plans: FirewallPlans, family: Family, signal?: AbortSignal): Promise<readonly Drift[]> {
    const cleared = this.#cleared[family];
    if ([...plans.keys()].every((network) => cleared.has(network))) return [];
    const saved = await this.#saveIfThere(family, signal);
    const chains = [...plans.keys()].flatMap((network) => renderChains(undefined, network));
    const drifts = saved === null ? [] : await this.#write(family, chains, saved, signal);
    for (const network of plans.keys()) cleared.add(network);
    return drifts;
  }

  /** `reduce` leaves out what is not needed beside the rules that `saved` holds. */
  async #reconcileFamily(
    plans: FirewallPlans,
    family: Family,
    reduce: (wanted: FamilyRules, saved: SavedTables) => FamilyRules,
    saved: SavedTables,
    signal: AbortSignal | undefined,
  ): Promise<readonly Drift[]> {
    this.#cleared[family].clear();
    const chains = [...plans].flatMap(([network, { rules }]) => {
      const wanted = rules[family];
      return renderChains(wanted === undefined ? undefined : reduce(wanted, saved), network);
    });
    return await this.#write(family, chains, saved, signal);
  }

  /**
   * Writes what differs, and returns it. What differs from what was written last is written again and listed: it is this
   * version's spelling, unless another program changed it.
   */
  async #write(
    family: Family,
    chains: readonly RenderedChain[],
    saved: SavedTables,
    signal: AbortSignal | undefined,
  ): Promise<readonly Drift[]> {
    const change = this.#change(family, chains, saved);
    const isRepeated = isDeepStrictEqual(this.#unconfirmed.get(family), chains);
    this.#unconfirmed.delete(family);
    if (change.drifts.length === 0) return [];
    await this.#restore(family, change.script, signal);
    if (!isRepeated) {
      this.#unconfirmed.set(family, chains);
      return change.drifts;
    }
    this.#learn(family, chains, saved, await this.#save(family, signal));
    return this.#change(family, chains, saved).drifts;
  }

  async #restore(family: Family, script: string, signal?: AbortSignal): Promise<void> {
    const args = ["--noflush", `--wait=${LOCK_WAIT_SECONDS}`];
    this.#listings.forget(this.#saveCommand(family));
    await this.#runner.succeed(`${PROGRAM[family]}${this.#variant}-restore`, args, { input: script, signal });
  }

  #change(family: Family, chains: readonly RenderedChain[], saved: SavedTables): IptablesChange {
    const change = planIptablesChange(chains, saved, this.#written[family]);
    return { ...change, drifts: change.drifts.map((drift) => `${PROGRAM[family]}${this.#variant} ${drift}`) };
  }

  /** Records how this version of iptables-save lists what it listed after both of two restores: once may be an edit. */
  #learn(family: Family, chains: readonly RenderedChain[], first: SavedTables, second: SavedTables): void {
    for (const { table, name, rules } of chains) {
      const shown = second.get(table)?.get(name)?.rules ?? [];
      if (shown.length !== rules.length || !isSameList(shown, first.get(table)?.get(name)?.rules ?? []))
        continue;
      this.#written[family].set(name, { wanted: rules, saved: shown });
    }
  }

  async #save(family: Family, signal?: AbortSignal): Promise<SavedTables> {
    const list = () => this.#runner.succeed(this.#saveCommand(family), [], { signal });
    return (await this.#dump(family, list)) ?? NO_TABLES;
  }

  /** The dump of one family; null when the kernel or the tools lack it. */
  async #saveIfThere(family: Family, signal?: AbortSignal): Promise<SavedTables | null> {
    return await this.#dump(family, async () => {
      const result = await this.#runner.runIfInstalled(this.#saveCommand(family), [], { signal });
      return result?.exitCode === 0 ? result.stdout : null;
    });
  }

  /** Lists only what may have changed; null when there is nothing, or when `list` returns null. */
  async #dump(family: Family, list: () => Promise<string | null>): Promise<SavedTables | null> {
    const [key, shown] = [this.#saveCommand(family), this.#shown(family)];
    if (!this.#listings.mayShow(shown)) return null;
    return await this.#listings.get(key, shown, async () => {
      const text = await list();
      this.#isNft ||= /^# Generated by .* \(nf_tables\) on /.test(text ?? "");
      return text === null ? null : parseIptablesSave(text);
    });
  }

  #shown(family: Family): Shown {
    const nft = this.#variant === "-legacy" ? () => false : isOf(family);
    return this.#variant === "-nft" ? { nft } : { nft, legacy: family };
  }

  #saveCommand(family: Family): string {
    return `${PROGRAM[family]}${this.#variant}-save`;
  }
}

function isOf(family: Family): (table: string) => boolean {
  const tables = new Set(NFT_NAMES.map((name) => `${NFT_FAMILY[family]} ${name}`));
  return (table) => tables.has(table);
}

/** Each rule costs every packet: some accepts are needed only beside foreign rules. */
function withoutNeedless(wanted: FamilyRules, saved: SavedTables): FamilyRules {
  const chains = { ...wanted.chains };
  if (!mayDropInRaw(saved)) delete chains["overlay-in"];
  if (!mayDropInInput(saved)) delete chains["name-server"];
  return { ...wanted, chains };
}

function acceptsBeside(wanted: FamilyRules, saved: SavedTables): FamilyRules {
  const inRaw = acceptsInRaw(wanted, saved);
  return {
    ...inRaw,
    chains: {
      ...pick(wanted.chains, "forward", "docker-user", "input"),
      ...(mayDropInInput(saved) ? pick(wanted.chains, "name-server") : {}),
      ...inRaw.chains,
    },
  };
}

function acceptsInRaw({ chains }: FamilyRules, saved: SavedTables): FamilyRules {
  const accepts = mayDropInRaw(saved) ? pick(chains, "overlay-in") : {};
  return { chains: accepts, gates: {}, knownSources: null };
}

/** Docker's rules there come and go with its containers: after the first of them our own stay. */
function mayDropInRaw(saved: SavedTables): boolean {
  const { table, name } = IPTABLES_CHAINS["overlay-in"];
  return isInUse(table, saved) || networksOf(name, saved.get(table)?.keys() ?? []).length > 0;
}

function mayDropInInput(saved: SavedTables): boolean {
  const input = saved.get("filter")?.get("INPUT");
  return input !== undefined && isUsed(input);
}

function pick(chains: FamilyRules["chains"], ...roles: readonly ChainRole[]): FamilyRules["chains"] {
  return Object.fromEntries(roles.map((role) => [role, chains[role] ?? []]));
}
