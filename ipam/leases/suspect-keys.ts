/**
 * Lease keys that may be no host's: what to look at first in a network without a free subnet. Pure.
 *
 * A lease takes one subnet. A key that takes several was made by hand, or dates from a network with another SubnetLen.
 */

import { ADDRESS_BITS, type Prefix } from "../addresses/ip.ts";
import { type FamilyNetwork, mayBeLeased } from "../config/network-config.ts";
import { boundText } from "../escape.ts";
import type { StoreEntry } from "../stores/contracts.ts";
import { leaseSpan } from "./candidates.ts";
import { readCanonicalKey, readStrayKey } from "./lease-codec.ts";

const VALUE_LIMIT = 100;

/** What each of them takes, in words; those that take most come first. */
export function suspects(entries: readonly StoreEntry[], network: FamilyNetwork): readonly string[] {
  return entries
    .flatMap((entry) => {
      const count = takenBy(entry, network);
      return count > 1 || (count === 1 && readCanonicalKey(entry.key) === null) ? [{ entry, count }] : [];
    })
    .sort((a, b) => b.count - a.count)
    .map(({ entry, count }) => describe(entry, count));
}

function describe({ key, value }: StoreEntry, count: number): string {
  return `key ${boundText(key, VALUE_LIMIT)} with the value ${boundText(value, VALUE_LIMIT) || '""'}, which takes ${count} of them`;
}

/** How many subnets of the network the key takes. */
function takenBy({ key }: StoreEntry, network: FamilyNetwork): number {
  const subnet = readStrayKey(key)?.[network.network.family];
  return subnet !== undefined && mayBeLeased(subnet, network.network) ? countInside(subnet, network) : 0;
}

function countInside({ base, last }: Prefix, network: FamilyNetwork): number {
  const span = leaseSpan(network);
  const hostBits = BigInt(ADDRESS_BITS[network.network.family] - network.subnetLength);
  const first = (base.value > span.base.value ? base : span.base).value >> hostBits;
  const end = (last.value < span.last.value ? last : span.last).value >> hostBits;
  return end < first ? 0 : Number(end - first) + 1;
}
