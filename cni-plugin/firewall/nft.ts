/** Scripts for nft(8). Every script is one transaction: it is carried out wholly or not at all. */

import { shortDigest } from "../digest.ts";
import { feed } from "./tool.ts";

/** Feeds lines to `nft -f -`. Throws CniError 100 with its words. */
export function applyRules(lines: readonly string[]): void {
  feed("nft", ["-f", "-"], lines);
}

/** The table of one network; network names have characters that nft's names lack. */
export function tableName(networkName: string): string {
  return `tulle-cni-${shortDigest(networkName)}`;
}
