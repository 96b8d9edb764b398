/** Reads Docker's bridge, and the routes that compete with it, from the kernel. */

import { decodeAddress, encodeAddressDump } from "../../backends/netlink/address.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { decodeLink, encodeLinkDump } from "../../backends/netlink/link/link.ts";
import { decodeRoute, encodeRouteDump, RT_TABLE_MAIN } from "../../backends/netlink/route.ts";
import { type Address, FAMILIES, type InterfaceAddress, type Prefix } from "../../ipam/addresses/ip.ts";

export interface RouteFact {
  readonly destination: Prefix;
  /** Empty for routes without a single device. */
  readonly device: string;
  readonly gateway: Address | null;
}

export interface BridgeFacts {
  /** The bridge's addresses, null when the bridge does not exist. */
  readonly addresses: readonly InterfaceAddress[] | null;
  /** Devices attached to the bridge: one for each running container. */
  readonly portCount: number;
  /** The main table of both families, without default routes. */
  readonly routes: readonly RouteFact[];
}

/** `ip address show dev BRIDGE`, `ip link show master BRIDGE`, `ip route` and `ip -6 route`. Throws NetlinkError. */
export function readBridgeFacts(bridge: string): BridgeFacts {
  const connection = NetlinkConnection.open();
  try {
    const links = connection.dump(encodeLinkDump(), decodeLink);
    const names = new Map(links.map(({ index, name }) => [index, name]));
    const index = links.find(({ name }) => name === bridge)?.index;
    const addresses = connection.dump(encodeAddressDump(), decodeAddress);
    const routes = FAMILIES.flatMap((family) =>
      connection.dump(encodeRouteDump(family, { table: RT_TABLE_MAIN }), decodeRoute),
    );
    return {
      addresses:
        index === undefined ? null : addresses.filter(({ interfaceIndex }) => interfaceIndex === index),
      portCount: index === undefined ? 0 : links.filter(({ masterIndex }) => masterIndex === index).length,
      routes: routes
        .filter(({ table, destination }) => table === RT_TABLE_MAIN && destination.length > 0)
        .map(({ destination, outputIndex, gateway }) => ({
          destination,
          device: names.get(outputIndex ?? 0) ?? "",
          gateway,
        })),
    };
  } finally {
    connection.close();
  }
}
