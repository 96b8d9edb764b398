/** Scripts for nft(8). Every script is one transaction: it is carried out wholly or not at all. */

import { shortDigest } from "../digest.ts";
import { ask, feed } from "./tool.ts";

/** Feeds lines to `nft -f -`. Throws CniError 100 with its words. */
export function applyRules(lines: readonly string[]): void {
  feed("nft", ["-f", "-"], lines);
}

/** True when nft knows all that the lines ask for, and answers each of `phrases` among it. */
export function hasRules(lines: readonly string[], phrases: readonly string[]): boolean {
  const answer = ask("nft", ["-f", "-"], lines);
  return answer !== null && phrases.every((phrase) => answer.includes(phrase));
}

/** Removes everything of a network that has no container left; absent is a success. Throws CniError 100. */
export function removeTables(networkName: string): void {
  const tables = ["ip", "ip6", "bridge"].map((family) => `${family} ${tableName(networkName)}`);
  // nft refuses to delete what is absent: so add it first.
  applyRules(tables.flatMap((table) => [`add table ${table}`, `delete table ${table}`]));
}

/** The table of one network; network names have characters that nft's names lack. */
export function tableName(networkName: string): string {
  return `tulle-cni-${shortDigest(networkName)}`;
}
