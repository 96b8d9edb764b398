/** Reads the output of iptables-save(8): tables, chains and rules, as text. Pure; independent of our rules. */

import { IPIP_NAMES } from "./rules.ts";

export interface SavedChain {
  /** `ACCEPT` or `DROP` for built-in chains, `-` for others. */
  readonly policy: string;
  /** What follows `-A CHAIN `, in order. */
  readonly rules: readonly string[];
}

export type SavedTable = ReadonlyMap<string, SavedChain>;
export type SavedTables = ReadonlyMap<string, SavedTable>;

const IPIP_NAME = new RegExp(`(?<=^| )-p (?:${IPIP_NAMES.join("|")})(?= )`);

/** Parses a whole dump. Lines that are neither table, chain nor rule are comments and are skipped. */
export function parseIptablesSave(text: string): SavedTables {
  const tables = new Map<string, Map<string, { policy: string; rules: string[] }>>();
  let table = new Map<string, { policy: string; rules: string[] }>();
  for (const line of text.split("\n")) {
    const [word = "", ...rest] = line.split(" ");
    if (word.startsWith("*")) {
      table = new Map();
      tables.set(word.slice(1), table);
    } else if (word.startsWith(":")) {
      table.set(word.slice(1), { policy: rest[0] ?? "-", rules: [] });
    } else if (word === "-A") {
      table.get(rest[0] ?? "")?.rules.push(rest.slice(1).join(" ").replace(IPIP_NAME, "-p 4"));
    }
  }
  return tables;
}

/** The target that a rule jumps or goes to, empty when it has none. */
export function targetOf(rule: string): string {
  return /(?:^| )-[jg] (\S+)/.exec(withoutComment(rule))?.[1] ?? "";
}

/** Targets after which no later rule of the chain sees the packet (iptables-extensions(8)). */
const FINAL_TARGETS: ReadonlySet<string> = new Set(
  ["ACCEPT", "DROP", "REJECT", "RETURN", "QUEUE", "NFQUEUE"].concat("MASQUERADE", "SNAT", "DNAT", "NETMAP"),
);

/** True when the chain ends here for every packet: a verdict, or a goto, that tests nothing. */
export function isFinal(rule: string): boolean {
  const [option, target = ""] = withoutComment(rule).split(" ");
  return option === "-g" || (option === "-j" && FINAL_TARGETS.has(target));
}

/** True when two rules are the same but for their comments. */
export function isSameRule(left: string, right: string): boolean {
  return withoutComment(left) === withoutComment(right);
}

/** True for a jump that tests nothing and leads to `chain`. */
export function isPlainJump(rule: string, chain: string): boolean {
  return withoutComment(rule) === `-j ${chain}`;
}

function withoutComment(rule: string): string {
  return rule.replace(/-m comment --comment (?:"(?:[^"\\]|\\.)*"|\S+) ?/g, "").trim();
}
