/** What a host is called on the page. */

import { escapeText } from "../../ipam/escape.ts";

const LONGEST = 64;

/** The name that the host recorded, else its public address, else its lease. */
export function nameOfHost(name: string | null, addresses: readonly string[], lease: string): string {
  return escapeText(name || addresses[0] || lease, LONGEST);
}
