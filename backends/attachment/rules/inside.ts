/** Where packets keep their source address. Pure. */

import { type Family, Prefix } from "../../../ipam/addresses/ip.ts";

const MULTICAST: Readonly<Record<Family, Prefix>> = {
  4: Prefix.parse("224.0.0.0/4"),
  6: Prefix.parse("ff00::/8"),
};

/** Those of `prefixes` that are of the family, and its multicast range. */
export function insideOf(family: Family, prefixes: readonly Prefix[]): readonly Prefix[] {
  return [...prefixes.filter((prefix) => prefix.family === family), MULTICAST[family]];
}
