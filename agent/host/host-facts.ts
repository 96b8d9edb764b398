/** Takes the snapshot of links, addresses and routes that the choice of an interface depends on. Decides nothing. */

import { decodeAddress, encodeAddressDump } from "../../backends/netlink/address.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { NetlinkError } from "../../backends/netlink/errors.ts";
import { decodeLink, encodeLinkDump } from "../../backends/netlink/link.ts";
import {
  decodeRoute,
  encodeGetRoute,
  encodeRouteDump,
  RT_TABLE_MAIN,
  RTN_UNICAST,
} from "../../backends/netlink/route.ts";
import { type Address, FAMILIES, type Family } from "../../ipam/addresses/ip.ts";
import type { HostSnapshot, PathOut } from "./choose-interface.ts";

/**
 * Reads the host's present state; equivalent to `ip link`, `ip address`, `ip route show default` and, for
 * routeTo, `ip route get`. The connection must stay open as long as routeTo is used. Throws NetlinkError.
 */
export function takeHostSnapshot(connection: NetlinkConnection): HostSnapshot {
  const defaultRoutes: Partial<Record<Family, readonly number[]>> = {};
  for (const family of FAMILIES) defaultRoutes[family] = defaultInterfaces(connection, family);
  return {
    links: connection.dump(encodeLinkDump(), decodeLink),
    addresses: connection.dump(encodeAddressDump(), decodeAddress),
    defaultRoutes,
    routeTo: (address) => routeTo(connection, address),
  };
}

function defaultInterfaces(connection: NetlinkConnection, family: Family): readonly number[] {
  return connection
    .dump(encodeRouteDump(family, { table: RT_TABLE_MAIN }), decodeRoute)
    .filter(
      (route) =>
        route.destination.length === 0 && route.table === RT_TABLE_MAIN && route.type === RTN_UNICAST,
    )
    .flatMap((route) => route.outputIndex ?? []);
}

/** Any refusal of the kernel means that there is no way to the address. */
function routeTo(connection: NetlinkConnection, address: Address): PathOut | null {
  try {
    const route = connection.get(encodeGetRoute(address), decodeRoute);
    return route.outputIndex === null ? null : { interfaceIndex: route.outputIndex, source: route.source };
  } catch (error) {
    if (error instanceof NetlinkError && !error.retryable) return null;
    throw error;
  }
}
