/** Whether this host forwards the packets of its containers. Reads only. */

import { isForwarding } from "../../backends/attachment/forwarding.ts";
import { decodeAddress, encodeAddressDump, type KernelAddress } from "../../backends/netlink/address.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import {
  ADDRESS_BITS,
  entriesOf,
  type Family,
  type PerFamily,
  type Prefix,
} from "../../ipam/addresses/ip.ts";
import { type Cause, causeOf } from "./causes.ts";

const SETTING = { 4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding" } as const;

/**
 * The trouble of a host with containers that does not forward: probes, which come from the host itself, do not notice.
 * Null before there is a bridge with an address of this host's subnet. Throws NetlinkError.
 */
export function forwardingTrouble(netlink: NetlinkConnection, ownSubnets: PerFamily<Prefix>): Cause | null {
  const present: readonly KernelAddress[] = netlink.dump(encodeAddressDump(), decodeAddress);
  const isServed = (family: Family, subnet: Prefix): boolean =>
    // The tunnel device has an address of the subnet too, but no link's worth of it.
    present.some(({ address, length }) => subnet.contains(address) && length < ADDRESS_BITS[family]);
  const missing = entriesOf(ownSubnets)
    .filter(([family, subnet]) => isServed(family, subnet) && !isForwarding(family))
    .map(([family]) => SETTING[family]);
  if (missing.length === 0) return null;
  return causeOf(
    "forwarding-off",
    `this host does not forward its containers' packets: ${missing.join(" and ")} is 0`,
  );
}
