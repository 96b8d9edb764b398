/**
 * The nftables engine: a table of our own for each network and family, read and written through nft's JSON interface.
 *
 * One transaction per table, so that one that nft rejects does not keep the others from theirs. Touches no other
 * table; an accept here does not override a drop elsewhere, for which the iptables engine has `reconcileBeside`.
 */

import { isDeepStrictEqual } from "node:util";
import { FAMILIES } from "../../ipam/addresses/ip.ts";
import { CodecError } from "../../ipam/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../ipam/json.ts";
import type { CommandRunner } from "./command.ts";
import type { Drift, FirewallEngine, RemoveOptions } from "./engine.ts";
import { FirewallError } from "./errors.ts";
import { type FamilyFailure, throwFirst } from "./families.ts";
import { Listings } from "./listings.ts";
import { type NetworkName, networksOf } from "./names.ts";
import {
  acceptAsWritten,
  type ListedTable,
  type NftChange,
  parseTable,
  planNftChange,
  type WrittenForms,
} from "./nft-diff.ts";
import { describeTable, NFT_CHAINS, NFT_TABLE, type NftTable, nftTable } from "./nft-render.ts";
import { EMPTY_PLAN, type FamilyRules, type FirewallPlans } from "./rules.ts";

/** A table, what it must hold (undefined: nothing of ours) and how nft lists it (null: it does not exist). */
interface TableState {
  readonly table: NftTable;
  readonly wanted: FamilyRules | undefined;
  readonly listed: ListedTable | null;
}

export class NftEngine implements FirewallEngine {
  readonly kind = "nft";
  readonly #runner: CommandRunner;
  readonly #listings: Listings;
  /** By table. */
  readonly #written = new Map<string, WrittenForms>();
  /** By table: what was written last and not listed since. */
  readonly #unconfirmed = new Map<string, FamilyRules | undefined>();

  constructor(runner: CommandRunner, listings = new Listings()) {
    this.#runner = runner;
    this.#listings = listings;
  }

  async reconcile(plans: FirewallPlans, signal?: AbortSignal): Promise<readonly Drift[]> {
    const present = await this.#presentTables(signal);
    const drifts: Drift[] = [];
    const failures: FamilyFailure[] = [];
    for (const [network, { rules }] of plans) {
      for (const family of FAMILIES) {
        try {
          const table = nftTable(family, network);
          drifts.push(...(await this.#reconcileTable(table, rules[family], present, signal)));
        } catch (error) {
          failures.push({ family, error });
        }
      }
    }
    throwFirst(failures);
    return drifts;
  }

  async remove({
    isDryRun = false,
    keepsFlannels = false,
    signal,
  }: RemoveOptions = {}): Promise<readonly string[]> {
    const present = await this.#presentTables(signal);
    const networks = new Set(FAMILIES.flatMap((family) => networksIn(present, family)));
    const plans = new Map([...networks].map((network) => [network, EMPTY_PLAN]));
    if (!isDryRun && !keepsFlannels) return this.reconcile(plans, signal);
    const drifts: string[] = [];
    for (const network of networks) {
      for (const family of FAMILIES) {
        const table = nftTable(family, network);
        const state = await this.#read(table, undefined, present, signal);
        const { drifts: found, commands } = this.#change(keepsFlannels ? withoutFlannels(state) : state);
        if (!isDryRun && commands.length > 0) await this.#run(commands, table, signal);
        drifts.push(...found);
      }
    }
    return drifts;
  }

  /**
   * Writes what differs, and returns it. What differs from what was written last is written again and listed: it is this
   * version's spelling, unless another program changed it.
   */
  async #reconcileTable(
    table: NftTable,
    wanted: FamilyRules | undefined,
    present: ReadonlySet<string>,
    signal?: AbortSignal,
  ): Promise<readonly Drift[]> {
    const key = describeTable(table);
    const state = await this.#read(table, wanted, present, signal);
    const change = this.#change(state);
    const isRepeated = this.#unconfirmed.has(key) && isDeepStrictEqual(this.#unconfirmed.get(key), wanted);
    this.#unconfirmed.delete(key);
    if (change.commands.length === 0) return [];
    await this.#run(change.commands, table, signal);
    if (!isRepeated) {
      this.#unconfirmed.set(key, wanted);
      return change.drifts;
    }
    this.#learn(state, await this.#read(table, wanted, await this.#presentTables(signal), signal));
    return this.#change(state).drifts;
  }

  #change({ table, wanted, listed }: TableState): NftChange {
    return planNftChange(table, wanted, listed, this.#writtenForms(table));
  }

  #writtenForms(table: NftTable): WrittenForms {
    const key = describeTable(table);
    const forms: WrittenForms = this.#written.get(key) ?? new Map();
    this.#written.set(key, forms);
    return forms;
  }

  async #run(commands: readonly JsonObject[], table: NftTable, signal?: AbortSignal): Promise<void> {
    const options = { script: JSON.stringify({ nftables: commands }), signal };
    this.#listings.forget(describeTable(table));
    const { exitCode, stderr } = await this.#runner.run("nft", ["-j"], options);
    if (exitCode !== 0) throw rejectedError(stderr, table);
  }

  /** Records how this version of nft lists what it listed after both of two transactions. */
  #learn({ table, wanted, listed }: TableState, again: TableState): void {
    if (wanted === undefined) return;
    acceptAsWritten(table, wanted, [listed, again.listed], this.#writtenForms(table));
  }

  /** A table as it is. Equal to `nft list table ip flannel-ipv4`. */
  async #read(
    table: NftTable,
    wanted: FamilyRules | undefined,
    present: ReadonlySet<string>,
    signal?: AbortSignal,
  ): Promise<TableState> {
    const { protocol, name } = table;
    const key = describeTable(table);
    if (!present.has(key)) return { table, wanted, listed: null };
    const listed = await this.#listings.get(key, { nft: (each) => each === key }, async () =>
      parseTable(table, await this.#list(["table", protocol, name], signal)),
    );
    return { table, wanted, listed };
  }

  /** All tables of the host, such as `ip flannel-ipv4`. */
  async #presentTables(signal?: AbortSignal): Promise<ReadonlySet<string>> {
    const names = this.#listings.names();
    if (names !== null) return names.nft;
    const entries = await this.#list(["tables"], signal);
    return new Set(
      entries.flatMap((entry) =>
        isJsonObject(entry) && isJsonObject(entry.table) ? [`${entry.table.family} ${entry.table.name}`] : [],
      ),
    );
  }

  async #list(what: readonly string[], signal?: AbortSignal): Promise<readonly JsonValue[]> {
    const output = await this.#runner.succeed("nft", ["-j", "list", ...what], { signal });
    const answer: unknown = output.trim() === "" ? { nftables: [] } : JSON.parse(withReadableFlags(output));
    if (!isJsonObject(answer) || !Array.isArray(answer.nftables)) {
      throw new CodecError(`nft -j list ${what.join(" ")} answered no JSON listing`);
    }
    return answer.nftables;
  }
}

/** The table as if flanneld's chains, which are in the first network's, were not ours. */
function withoutFlannels(state: TableState): TableState {
  const { table, listed } = state;
  if (listed === null || table.name !== NFT_TABLE[table.family]) return state;
  const theirs = [NFT_CHAINS.forward.name, NFT_CHAINS.masquerade.name];
  const chains = new Map([...listed.chains].filter(([name]) => !theirs.includes(name)));
  return { ...state, listed: { ...listed, chains, foreign: [...listed.foreign, ...theirs] } };
}

function networksIn(present: ReadonlySet<string>, family: (typeof FAMILIES)[number]): readonly NetworkName[] {
  const { protocol } = nftTable(family, null);
  return networksOf(`${protocol} ${NFT_TABLE[family]}`, present);
}

/** nft 1.0 writes bytes without meaning as the flags of a table; only their presence matters. */
export function withReadableFlags(listing: string): string {
  return listing.replace(/(\{"table": \{[^{}]*"handle": \d+), "flags": [^}]*\}\}/g, '$1, "flags": "set"}}');
}

function rejectedError(stderr: string, table: NftTable): FirewallError {
  // JSON has no lines: the position in front of each message has no meaning.
  const reasons = new Set([...stderr.matchAll(/Error: (.+)/g)].map(([, reason]) => reason));
  const remedy = stderr.includes("resource busy")
    ? `; foreign rules in the table ${describeTable(table)} use a chain or set of ours: move them to a table of their own`
    : "";
  const reason = reasons.size === 0 ? stderr : [...reasons].join(", ");
  return new FirewallError(`nft rejected the rules: ${reason}${remedy}`, { retryable: true });
}
