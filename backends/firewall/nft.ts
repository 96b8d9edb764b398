/**
 * The nftables engine: our own table in each family, read and written by the nft tool's JSON interface.
 *
 * One transaction per pass and family. Touches no other table; that an accept here does not save a packet from
 * somebody else's drop is the affair of the accepts (see accepts.ts).
 */

import { CodecError } from "../../ipam/errors.ts";
import { FAMILIES, type Family } from "../../ipam/ip.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../ipam/json.ts";
import type { CommandRunner } from "./command.ts";
import type { Drift, FirewallEngine, RemoveOptions } from "./engine.ts";
import {
  acceptAsWritten,
  type ListedTable,
  parseTable,
  planNftChange,
  type WrittenForms,
} from "./nft-diff.ts";
import { NFT_FAMILY, NFT_TABLE } from "./nft-render.ts";
import { EMPTY_PLAN, type FirewallPlan } from "./rules.ts";

export class NftEngine implements FirewallEngine {
  readonly kind = "nft";
  readonly #runner: CommandRunner;
  readonly #written: Readonly<Record<Family, WrittenForms>> = { 4: new Map(), 6: new Map() };

  constructor(runner: CommandRunner) {
    this.#runner = runner;
  }

  async reconcile(plan: FirewallPlan, signal?: AbortSignal): Promise<readonly Drift[]> {
    const listed = await this.#listTables(signal);
    const changes = FAMILIES.map((family) =>
      planNftChange(family, plan.rules[family], listed[family], this.#written[family]),
    );
    const commands = changes.flatMap((change) => change.commands);
    if (commands.length === 0) return [];
    await this.#apply(commands, signal);
    await this.#learn(plan, signal);
    return changes.flatMap((change) => change.drifts);
  }

  async remove({ isDryRun = false, signal }: RemoveOptions = {}): Promise<readonly string[]> {
    if (!isDryRun) return this.reconcile(EMPTY_PLAN, signal);
    const listed = await this.#listTables(signal);
    return FAMILIES.flatMap(
      (family) => planNftChange(family, undefined, listed[family], this.#written[family]).drifts,
    );
  }

  async #apply(commands: readonly JsonObject[], signal?: AbortSignal): Promise<void> {
    const input = JSON.stringify({ nftables: commands });
    // nft opens /dev/stdin by name, which a socket (what Node gives to a child) does not allow; a pipe does.
    await this.#runner.succeed("sh", ["-c", "cat | nft -j -f -"], { input, signal });
  }

  async #learn(plan: FirewallPlan, signal?: AbortSignal): Promise<void> {
    const listed = await this.#listTables(signal);
    for (const family of FAMILIES) {
      const wanted = plan.rules[family];
      const table = listed[family];
      if (wanted && table) acceptAsWritten(family, wanted, table, this.#written[family]);
    }
  }

  /** Our tables, null where there is none. Equal to `nft list table ip flannel-ipv4`, and the same for ip6. */
  async #listTables(signal?: AbortSignal): Promise<Record<Family, ListedTable | null>> {
    const tables = await this.#list(["tables"], signal);
    const listed: Record<Family, ListedTable | null> = { 4: null, 6: null };
    for (const family of FAMILIES) {
      if (!tables.some((entry) => isTable(entry, family))) continue;
      listed[family] = parseTable(await this.#list(["table", NFT_FAMILY[family], NFT_TABLE[family]], signal));
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
