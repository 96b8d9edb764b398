/** Scripts for nft(8). Every script is one transaction: it is carried out wholly or not at all. */

import type { Family } from "../../../ipam/addresses/ip.ts";
import { shortDigest } from "../digest.ts";
import { ask, feed } from "./engine.ts";

/** nft's words for the address families. */
export const TABLE_FAMILIES: Readonly<Record<Family, string>> = { 4: "ip", 6: "ip6" };

/** Feeds lines to `nft -f -`. Throws FirewallError with its words. */
export function applyRules(lines: readonly string[]): Promise<void> {
  return feed("nft", ["-f", "-"], lines);
}

/** True when nft has an answer to every question, and each of `phrases` is among the answers. */
export async function hasRules(questions: readonly string[], phrases: readonly string[]): Promise<boolean> {
  const answers = await Promise.all(questions.map(query));
  return (
    answers.every((answer) => answer !== null) && phrases.every((phrase) => answers.join().includes(phrase))
  );
}

/** Removes those of a network's tables, one per family, that hold no container any more. Throws FirewallError. */
export async function removeEmptyTables(network: string, families: readonly string[]): Promise<void> {
  const tables = families.map((family) => `${family} ${tableName(network)}`);
  const listings = await Promise.all(tables.map((table) => query(`list table ${table}`)));
  const empty = tables.filter((_, index) => listings[index]?.includes("elements = {") === false);
  if (empty.length > 0) await applyRules(empty.map((table) => `delete table ${table}`));
}

/** One question at a time: of several in one script nft may answer from a cache that lacks some. */
function query(question: string): Promise<string | null> {
  return ask("nft", [question]);
}

/** The table of one network; network names have characters that nft's names lack. */
export function tableName(network: string): string {
  return `tulle-cni-${shortDigest(network)}`;
}
