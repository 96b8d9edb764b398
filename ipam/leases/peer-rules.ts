/** What a peer's lease must satisfy by itself, whatever the backend. Pure. */

import { ADDRESS_BITS, type Address, entriesOf, type PerFamily, type Prefix } from "../addresses/ip.ts";
import type { Lease } from "./lease.ts";

export interface PeerRules {
  /**
   * Where peers' subnets may lie, empty for anywhere; a family without an entry is none of this network's.
   */
  readonly networks: PerFamily<readonly Prefix[]>;
  /** The subnets of this host, whoever holds their lease: they are never routed to another. */
  readonly ownSubnets: PerFamily<Prefix>;
  readonly ownAddresses: PerFamily<Address>;
}

/** The subnets of a lease in the families of the network. */
export function subnetsInUse(lease: Lease, { networks }: PeerRules): PerFamily<Prefix> {
  const entries = entriesOf(lease.subnets);
  const used = entries.filter(([family]) => networks[family] !== undefined);
  return used.length === entries.length ? lease.subnets : Object.fromEntries(used);
}

/** Why a lease can be no peer's, as the rest of a sentence with what to do; null when it can. */
export function problemOfPeer(lease: Lease, rules: PeerRules): string | null {
  for (const [family, subnet] of entriesOf(subnetsInUse(lease, rules))) {
    const problem =
      subnetProblem(subnet, rules.networks[family] ?? [], rules.ownSubnets[family]) ??
      addressProblem(lease.attrs.publicAddress[family], subnet, rules);
    if (problem !== null) return problem;
  }
  return null;
}

function subnetProblem(subnet: Prefix, networks: readonly Prefix[], own: Prefix | undefined): string | null {
  if (networks.length > 0 && !networks.some((network) => network.contains(subnet))) {
    return `its subnet ${subnet} lies outside the network ${networks.join(", ")}; delete the key if nobody needs it`;
  }
  if (own?.overlaps(subnet)) {
    return `its subnet ${subnet} overlaps this host's own ${own}; one of the two hosts must give it up`;
  }
  return null;
}

function addressProblem(
  address: Address | undefined,
  subnet: Prefix,
  { networks, ownAddresses }: PeerRules,
): string | null {
  if (address === undefined) {
    return `it has no public IPv${subnet.family} address to send packets to; restart its host's agent or delete the key`;
  }
  if (ownAddresses[subnet.family]?.equals(address)) {
    return `its public address ${address} is this host's own; give one of the two hosts another -public-ip`;
  }
  if (address.isUnspecified || address.isMulticast || address.isLoopback || isBroadcast(address)) {
    return `its public address ${address} is no address that packets can be sent to; give its host another -public-ip`;
  }
  // Asked of the few networks first, which is all that most addresses cost.
  const isInside = networks[subnet.family]?.some((network) => network.contains(address)) ?? false;
  if (isInside && subnet.contains(address)) {
    return `its public address ${address} lies in its own subnet ${subnet}, so packets to it would loop; give its host another -public-ip`;
  }
  return null;
}

/** 255.255.255.255 (RFC 919). */
function isBroadcast(address: Address): boolean {
  return address.family === 4 && address.value === (1n << BigInt(ADDRESS_BITS[4])) - 1n;
}
