/** Leases of hosts of the udp backend. */

import { Address, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { Lease } from "../../ipam/leases/lease.ts";

/** What a host publishes: number N has 10.2.N.0/24, fd00:2:N::/64, 192.168.77.N and fd77::N. */
export function udpLease(
  number: number,
  { isTulle = true, families = [4] as readonly (4 | 6)[] } = {},
): Lease {
  const subnets: PerFamily<Prefix> = {
    ...(families.includes(4) ? { 4: Prefix.parse(`10.2.${number}.0/24`) } : {}),
    ...(families.includes(6) ? { 6: Prefix.parse(`fd00:2:0:${number}::/64`) } : {}),
  };
  const publicAddress = { 4: Address.parse(`192.168.77.${number}`), 6: Address.parse(`fd77::${number}`) };
  return {
    key: `host-${number}`,
    subnets,
    attrs: { publicAddress, backendType: "", backendData: {}, nodeId: isTulle ? `node-${number}` : null },
    revision: 1n,
    createRevision: 1n,
    storeLeaseId: "1",
    isLeaving: false,
  };
}
