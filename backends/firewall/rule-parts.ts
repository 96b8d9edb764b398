/** Short names for the parts of rules. */

import type { Prefix } from "../../ipam/addresses/ip.ts";
import type { Action, Matches, PrefixMatch, Rule } from "./rules.ts";

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
