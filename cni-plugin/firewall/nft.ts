/** Scripts for nft(8). Every script is one transaction: it is carried out wholly or not at all. */

import type { Family } from "../../ipam/addresses/ip.ts";
import { shortDigest } from "../digest.ts";
import { ask, feed } from "./tool.ts";

/** nft's words for the address families. */
export const TABLE_FAMILIES: Readonly<Record<Family, string>> = { 4: "ip", 6: "ip6" };

/** Feeds lines to `nft -f -`. Throws CniError 100 with its words. */
export function applyRules(lines: readonly string[]): void {
  feed("nft", ["-f", "-"], lines);
}

/** True when nft has an answer to every question, and each of `phrases` is among the answers. */
export function hasRules(questions: readonly string[], phrases: readonly string[]): boolean {
  const answers = questions.map(query);
  return (
    answers.every((answer) => answer !== null) && phrases.every((phrase) => answers.join().includes(phrase))
  );
}

/** Removes those of a network's tables, one per family, that hold no container any more. Throws CniError 100. */
export function removeEmptyTables(networkName: string, families: readonly string[]): void {
  const empty = families
    .map((family) => `${family} ${tableName(networkName)}`)
    .filter((table) => query(`list table ${table}`)?.includes("elements = {") === false);
  if (empty.length > 0) applyRules(empty.map((table) => `delete table ${table}`));
}

/** One question at a time: of several in one script nft may answer from a cache that lacks some. */
function query(question: string): string | null {
  return ask("nft", [question]);
}

/** The table of one network; network names have characters that nft's names lack. */
export function tableName(networkName: string): string {
  return `tulle-cni-${shortDigest(networkName)}`;
}
