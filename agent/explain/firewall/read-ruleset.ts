/** Reads the firewall by the host's own tools. Changes nothing, and loads no tables: a kernel without them has no rules. */

import type { CommandRunner } from "../../../backends/firewall/command.ts";
import { FirewallError } from "../../../backends/firewall/errors.ts";
import { withReadableFlags } from "../../../backends/firewall/nft.ts";
import { nftTable } from "../../../backends/firewall/nft-render.ts";
import { FAMILIES, type Family } from "../../../ipam/addresses/ip.ts";
import { errorMessage } from "../../../ipam/errors.ts";
import { isJsonObject, type JsonValue } from "../../../ipam/json.ts";
import { iptablesRuleset } from "./iptables-ruleset.ts";
import { type FrameTable, type NftRuleset, nftRuleset, ruleTexts } from "./nft-ruleset.ts";
import type { FirewallTable } from "./ruleset.ts";

export interface Firewall {
  readonly tables: readonly FirewallTable[];
  /** Rules for frames, which are not tested. */
  readonly frames: readonly FrameTable[];
  /** What could not be read, one sentence each. */
  readonly unknown: readonly string[];
}

const PROGRAM: Readonly<Record<Family, string>> = { 4: "iptables", 6: "ip6tables" };

/** The tables of nft and of both variants of iptables. */
export async function readFirewall(runner: CommandRunner, signal: AbortSignal): Promise<Firewall> {
  const unknown: string[] = [];
  const saved = await Promise.all(FAMILIES.map((family) => readIptables(runner, family, unknown, signal)));
  const shown = new Set(saved.flatMap(({ nftChains }) => nftChains));
  const nft = await readNft(runner, shown, unknown, signal);
  const isRead = nft !== null || saved.some(({ tables }) => tables.length > 0);
  // Tools that fail have been named.
  if (!isRead && unknown.length === 0)
    unknown.push("neither nft nor iptables is installed here: the firewall is not known");
  return {
    tables: [...saved.flatMap(({ tables }) => tables), ...(nft?.tables ?? [])],
    frames: nft?.others ?? [],
    unknown,
  };
}

interface Saved {
  readonly tables: readonly FirewallTable[];
  /** Chains of nft that are shown by iptables-save, as `ip filter FORWARD`. The same table may have others, made by nft. */
  readonly nftChains: readonly string[];
}

/** Both variants: a packet passes the tables of each. */
async function readIptables(
  runner: CommandRunner,
  family: Family,
  unknown: string[],
  signal: AbortSignal,
): Promise<Saved> {
  const program = PROGRAM[family];
  const version = (await output(runner, `${program}-save`, ["--version"], [], signal)) ?? "";
  const isNft = version.includes("nf_tables");
  const tables: FirewallTable[] = [];
  const nftChains: string[] = [];
  for (const [variant, ofNft] of [
    ["", isNft],
    [isNft ? "-legacy" : "-nft", !isNft],
  ] as const) {
    const text = await output(runner, `${program}${variant}-save`, [], unknown, signal);
    const found = text === null ? [] : iptablesRuleset(text, family, `${program}${variant}`);
    tables.push(...found);
    if (!ofNft) continue;
    for (const { name, chains } of found) {
      const table = `${nftTable(family, null).protocol} ${name.split(" ").at(-1)}`;
      nftChains.push(...[...chains.keys()].map((chain) => `${table} ${chain}`));
    }
  }
  return { tables, nftChains };
}

async function readNft(
  runner: CommandRunner,
  shown: ReadonlySet<string>,
  unknown: string[],
  signal: AbortSignal,
): Promise<NftRuleset | null> {
  const json = await output(runner, "nft", ["-j", "list", "ruleset"], unknown, signal);
  if (json === null) return null;
  const listing = (await output(runner, "nft", ["-a", "list", "ruleset"], unknown, signal)) ?? "";
  return nftRuleset(entriesOf(json, unknown), ruleTexts(listing), (chain) => shown.has(chain));
}

function entriesOf(json: string, unknown: string[]): readonly JsonValue[] {
  try {
    const answer: unknown = json.trim() === "" ? { nftables: [] } : JSON.parse(withReadableFlags(json));
    if (isJsonObject(answer) && Array.isArray(answer.nftables)) return answer.nftables;
  } catch (error) {
    unknown.push(`the answer of nft cannot be read: ${errorMessage(error)}`);
    return [];
  }
  unknown.push("the answer of nft is not a listing");
  return [];
}

/** Null where the program is not installed, or fails, which is said. */
async function output(
  runner: CommandRunner,
  program: string,
  args: readonly string[],
  unknown: string[],
  signal: AbortSignal,
): Promise<string | null> {
  try {
    const result = await runner.runIfInstalled(program, args, { signal });
    if (result === null) return null;
    if (result.exitCode === 0) return result.stdout;
    unknown.push(`${program} failed: ${result.stderr.split("\n")[0] || `exit code ${result.exitCode}`}`);
  } catch (error) {
    if (!(error instanceof FirewallError)) throw error;
    unknown.push(error.message);
  }
  return null;
}
