/**
 * Names of our tables and chains: flannel's for the first network of a host, with a suffix for every other one. Pure.
 */

import { createHash } from "node:crypto";

/** Null for the first network of a host. */
export type NetworkName = string | null;

/**
 * With flannel's longest chain name and a hyphen this makes 28 characters, the most that iptables takes
 * (XT_EXTENSION_MAXNAMELEN in linux/netfilter/x_tables.h, without the final zero).
 */
const SUFFIX_MAX = 12;

/** `base`, or `base-NETWORK`. A network's name that is too long or has other characters is replaced by its digest. */
export function nameFor(base: string, network: NetworkName): string {
  return network === null ? base : `${base}-${suffixOf(network)}`;
}

/** The networks, by suffix, that own the names which `base` begins; the first one is null. */
export function networksOf(base: string, names: Iterable<string>): readonly NetworkName[] {
  return [...names].flatMap((name) => {
    if (name === base) return [null];
    const suffix = name.startsWith(`${base}-`) ? name.slice(base.length + 1) : "";
    return isSuffix(suffix) ? [suffix] : [];
  });
}

function suffixOf(network: string): string {
  return isSuffix(network)
    ? network
    : createHash("sha256").update(network).digest("hex").slice(0, SUFFIX_MAX);
}

function isSuffix(text: string): boolean {
  return text.length <= SUFFIX_MAX && /^[a-z0-9]+$/.test(text);
}
