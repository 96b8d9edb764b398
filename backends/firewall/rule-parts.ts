/** Short names for the parts of rules. */

import { type Family, Prefix } from "../../ipam/addresses/ip.ts";
import { type Action, LINK_LOCAL_PREFIX, type Matches, type PrefixMatch, type Rule } from "./rules.ts";

export const ACCEPT: Action = { do: "accept" };
export const DROP: Action = { do: "drop" };
export const RETURN: Action = { do: "return" };
export const NOTRACK: Action = { do: "notrack" };

export function rule(matches: Matches, action: Action): Rule {
  return { matches, action };
}

export function inside(prefix: Prefix): PrefixMatch {
  return { prefix, isNegated: false };
}

export function outside(prefix: Prefix): PrefixMatch {
  return { prefix, isNegated: true };
}

/**
 * IPv6 needs link-local sources for neighbour discovery, and the unspecified one for duplicate address detection (RFC 4861,
 * RFC 4862); neither is forwarded.
 */
const LINK_SOURCES: Readonly<Record<Family, readonly Prefix[]>> = {
  4: [],
  6: [Prefix.parse(LINK_LOCAL_PREFIX[6]), Prefix.parse("::/128")],
};

/** Drops what containers on the bridge send with a source that is not in their subnet. */
export function sourceDrops(inputInterface: string, subnet: Prefix): Rule[] {
  return [
    ...LINK_SOURCES[subnet.family].map((prefix) => rule({ inputInterface, source: inside(prefix) }, RETURN)),
    rule({ inputInterface, source: outside(subnet) }, DROP),
  ];
}
