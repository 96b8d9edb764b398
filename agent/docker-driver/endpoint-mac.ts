/** The hardware address of a container's interface, made from its address: a container that keeps one keeps both. */

import { type Address, entriesOf, type PerFamily } from "../../ipam/addresses/ip.ts";
import { localMacFromSeed, type Mac, macFromBytes } from "../../ipam/addresses/mac.ts";
import { ConflictError } from "../../ipam/errors.ts";
import type { NamedNetworksView } from "../../ipam/named-networks/contracts.ts";
import type { Member, NamedNetwork } from "../../ipam/named-networks/named-network.ts";

/** As Docker makes them: 02:42 and the IPv4 address; with IPv6 alone, its last six bytes. */
export function macOfAddress(addresses: PerFamily<Address>): Mac {
  const [first] = entriesOf(addresses);
  if (first === undefined) throw new RangeError("an endpoint has an address");
  const [family, address] = first;
  const bytes = address.toBytes();
  return family === 4 ? macFromBytes(Uint8Array.of(0x02, 0x42, ...bytes)) : localMacFromSeed(bytes.slice(-6));
}

/** Throws ConflictError when another container of the network has the hardware address. */
export function requireUnusedMac(
  { members }: Pick<NamedNetworksView, "members">,
  { id, name }: NamedNetwork,
  { mac, endpoint }: Pick<Member, "mac" | "endpoint">,
): void {
  for (const host of members.get(id)?.values() ?? []) {
    const holder = host.members.find((member) => member.mac === mac && member.endpoint !== endpoint);
    if (holder === undefined) continue;
    throw new ConflictError(
      `MAC address ${mac} belongs to ${holder.names[0] ?? "another container"} in network ${name}: give another --mac-address`,
    );
  }
}
