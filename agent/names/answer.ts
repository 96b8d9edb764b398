/** Decides what a query gets: an answer from the view of named networks, or another server's. Pure. */

import type { Answer } from "dns-packet";
import { Address, type Family } from "../../ipam/addresses/ip.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import type { NetworkId } from "../../ipam/named-networks/named-network.ts";
import type { Query } from "./message.ts";
import { addressesOf, findMembers, namesAt } from "./name-lookup.ts";

/**
 * Not to be cached: an address may be another container's a moment later, and asking again costs a fraction of a
 * millisecond.
 */
const TTL_SECONDS = 0;

/** The families of the types of query for addresses. */
const FAMILIES_OF: Readonly<Record<string, readonly Family[]>> = { A: [4], AAAA: [6], ANY: [4, 6] };

/** For queries with names: which networks the client sees, and how often names were asked for, to rotate addresses. */
export interface Asking {
  readonly networks: readonly NetworkId[];
  readonly turn: number;
}

/**
 * The records that answer the query; none for a known name without records of that type. Null when neither the name nor
 * the address is known in these networks: then it is not ours, and never denied.
 */
export function answerFromView(
  view: Pick<NamedNetworksView, "networks" | "members">,
  query: Pick<Query, "name" | "type" | "class">,
  { networks, turn }: Asking,
): readonly Answer[] | null {
  if (query.name === null || query.class !== "IN" || networks.length === 0) return null;
  const { name } = query;
  const address = parseReverseName(name);
  if (address !== null) {
    const names = namesAt(view, networks, address);
    if (names.length === 0) return null;
    return query.type === "PTR" ? names.map((data) => ({ type: "PTR", name, ttl: TTL_SECONDS, data })) : [];
  }
  const members = findMembers(view, networks, name.toLowerCase());
  if (members.length === 0) return null;
  return (FAMILIES_OF[query.type] ?? []).flatMap((family) => {
    const type = family === 4 ? "A" : "AAAA";
    const addresses = rotate(addressesOf(members, family), turn);
    return addresses.map((each): Answer => ({ type, name, ttl: TTL_SECONDS, data: each.toString() }));
  });
}

/** The list from its element `turn` on; many programs take the first. */
function rotate<T>(list: readonly T[], turn: number): readonly T[] {
  const start = list.length === 0 ? 0 : turn % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}

/** The address in a name of `in-addr.arpa` (RFC 1035 §3.5) or `ip6.arpa` (RFC 3596 §2.5); null for another name. */
function parseReverseName(name: string): Address | null {
  const labels = name.toLowerCase().split(".").reverse();
  const [top, zone, ...parts] = labels;
  if (top !== "arpa") return null;
  if (zone === "in-addr" && parts.length === 4) return Address.parseOrNull(parts.join("."));
  if (zone !== "ip6" || parts.length !== 32 || parts.some((part) => !/^[\da-f]$/.test(part))) return null;
  return Address.of(6, BigInt(`0x${parts.join("")}`));
}
