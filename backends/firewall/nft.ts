/**
 * The nftables engine: our own table in each family, read and written by the nft tool's JSON interface.
 *
 * One transaction per pass and family. Touches no other table; that an accept here does not save a packet from
 * somebody else's drop is the affair of the iptables engine (reconcileBeside).
 */

import { entriesOf, FAMILIES, type Family } from "../../ipam/addresses/ip.ts";
import { CodecError } from "../../ipam/errors.ts";
import { isJsonObject, type JsonValue } from "../../ipam/json.ts";
import type { CommandRunner } from "./command.ts";
import type { Drift, FirewallEngine, RemoveOptions } from "./engine.ts";
import { FirewallError } from "./errors.ts";
import {
  acceptAsWritten,
  type ListedTable,
  type NftChange,
  parseTable,
  planNftChange,
  type WrittenForms,
} from "./nft-diff.ts";
import { NFT_FAMILY, NFT_TABLE } from "./nft-render.ts";
import { EMPTY_PLAN, type FirewallPlan } from "./rules.ts";

type ListedTables = Readonly<Record<Family, ListedTable | null>>;

export class NftEngine implements FirewallEngine {
  readonly kind = "nft";
  readonly #runner: CommandRunner;
  readonly #written: Readonly<Record<Family, WrittenForms>> = { 4: new Map(), 6: new Map() };

  constructor(runner: CommandRunner) {
    this.#runner = runner;
  }

  async reconcile(plan: FirewallPlan, signal?: AbortSignal): Promise<readonly Drift[]> {
    const change = this.#change(plan, await this.#listTables(signal));
    if (change.commands.length === 0) return [];
    const shown = await this.#apply(change, signal);
    const rest = this.#change(plan, shown);
    if (rest.commands.length > 0) this.#learn(plan, shown, await this.#apply(rest, signal));
    return change.drifts;
  }

  async remove({ isDryRun = false, signal }: RemoveOptions = {}): Promise<readonly string[]> {
    if (!isDryRun) return this.reconcile(EMPTY_PLAN, signal);
    return this.#change(EMPTY_PLAN, await this.#listTables(signal)).drifts;
  }

  #change(plan: FirewallPlan, listed: ListedTables): NftChange {
    const changes = FAMILIES.map((family) =>
      planNftChange(family, plan.rules[family], listed[family], this.#written[family]),
    );
    return {
      drifts: changes.flatMap(({ drifts }) => drifts),
      commands: changes.flatMap(({ commands }) => commands),
    };
  }

  /** Makes the change in one transaction and answers the listing that follows. */
  async #apply({ commands }: NftChange, signal?: AbortSignal): Promise<ListedTables> {
    const input = JSON.stringify({ nftables: commands });
    const options = { input, needsPipe: true, signal } as const;
    const { exitCode, stderr } = await this.#runner.run("nft", ["-j", "-f", "-"], options);
    if (exitCode !== 0) throw refusedError(stderr);
    return await this.#listTables(signal);
  }

  /** Remembers how this version of nft lists what it listed after both of two transactions. */
  #learn(plan: FirewallPlan, first: ListedTables, second: ListedTables): void {
    for (const [family, wanted] of entriesOf(plan.rules)) {
      acceptAsWritten(family, wanted, [first[family], second[family]], this.#written[family]);
    }
  }

  /** Our tables, null where there is none. Equal to `nft list table ip flannel-ipv4`, and the same for ip6. */
  async #listTables(signal?: AbortSignal): Promise<ListedTables> {
    const tables = await this.#list(["tables"], signal);
    const listed: Record<Family, ListedTable | null> = { 4: null, 6: null };
    for (const family of FAMILIES) {
      if (!tables.some((entry) => isTable(entry, family))) continue;
      listed[family] = parseTable(
        family,
        await this.#list(["table", NFT_FAMILY[family], NFT_TABLE[family]], signal),
      );
    }
    return listed;
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

function isTable(entry: JsonValue, family: Family): boolean {
  if (!isJsonObject(entry) || !isJsonObject(entry.table)) return false;
  return entry.table.family === NFT_FAMILY[family] && entry.table.name === NFT_TABLE[family];
}

/** nft 1.0 writes bytes that mean nothing where the flags of a table belong; that there are some is known. */
function withReadableFlags(listing: string): string {
  return listing.replace(/(\{"table": \{[^{}]*"handle": \d+), "flags": [^}]*\}\}/g, '$1, "flags": "set"}}');
}

function refusedError(stderr: string): FirewallError {
  // JSON has no lines: the place in front of each message means nothing.
  const reasons = new Set([...stderr.matchAll(/Error: (.+)/g)].map(([, reason]) => reason));
  const tables = FAMILIES.map((family) => `${NFT_FAMILY[family]} ${NFT_TABLE[family]}`).join(" or ");
  const remedy = stderr.includes("resource busy")
    ? `; somebody else's rules in the table ${tables} use a chain or set of ours: move them to a table of their own`
    : "";
  const reason = reasons.size === 0 ? stderr : [...reasons].join(", ");
  return new FirewallError(`nft refused the rules: ${reason}${remedy}`, { retryable: true });
}
