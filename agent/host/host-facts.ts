/** Takes the snapshot of links, addresses and routes that the choice of an interface depends on. */

import { decodeAddress, encodeAddressDump } from "../../backends/netlink/address.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { NetlinkError } from "../../backends/netlink/errors.ts";
import { decodeLink, encodeLinkDump } from "../../backends/netlink/link/link.ts";
import {
  decodeRoute,
  encodeGetRoute,
  encodeRouteDump,
  type Route,
  RT_TABLE_MAIN,
  RTN_UNICAST,
} from "../../backends/netlink/route.ts";
import { Address, FAMILIES, type Family } from "../../ipam/addresses/ip.ts";
import type { HostSnapshot, PathOut } from "./host-snapshot.ts";

/**
 * Reads the host's present state; equivalent to `ip link`, `ip address`, `ip route show default` and, for
 * routeTo, `ip route get`. The connection must stay open as long as routeTo is used. Throws NetlinkError.
 */
export function takeHostSnapshot(connection: NetlinkConnection): HostSnapshot {
  const routes = FAMILIES.flatMap((family) => mainRoutes(connection, family));
  const defaultRoutes: Partial<Record<Family, readonly PathOut[]>> = {};
  for (const family of FAMILIES) defaultRoutes[family] = defaultPaths(connection, routes, family);
  return {
    links: connection.dump(encodeLinkDump(), decodeLink),
    addresses: connection.dump(encodeAddressDump(), decodeAddress),
    routes,
    defaultRoutes,
    routeTo: (address) => routeTo(connection, address),
  };
}

/** Addresses for documentation (RFC 5737, RFC 3849): only a default route leads to them. */
const FAR_AWAY: Readonly<Record<Family, Address>> = {
  4: Address.parse("203.0.113.1"),
  6: Address.parse("2001:db8::1"),
};

function mainRoutes(connection: NetlinkConnection, family: Family): readonly Route[] {
  return connection
    .dump(encodeRouteDump(family, { table: RT_TABLE_MAIN }), decodeRoute)
    .filter(({ table }) => table === RT_TABLE_MAIN);
}

function defaultPaths(
  connection: NetlinkConnection,
  routes: readonly Route[],
  family: Family,
): readonly PathOut[] {
  return routes
    .filter(
      ({ destination, type }) =>
        destination.family === family && destination.length === 0 && type === RTN_UNICAST,
    )
    .flatMap(({ outputIndex, source, gateway }) => {
      // One with several next hops: the kernel chooses.
      if (outputIndex === null) return routeTo(connection, FAR_AWAY[family]) ?? [];
      return { interfaceIndex: outputIndex, source: source ?? sourceTo(connection, gateway, outputIndex) };
    });
}

/** A route without a preferred source leaves the choice to the kernel, which goes by the gateway's network. */
function sourceTo(
  connection: NetlinkConnection,
  gateway: Address | null,
  outputIndex: number,
): Address | null {
  const path = gateway === null ? null : routeTo(connection, gateway);
  return path?.interfaceIndex === outputIndex ? path.source : null;
}

/** Null for every error that a retry would not mend: the address cannot be reached. */
function routeTo(connection: NetlinkConnection, address: Address): PathOut | null {
  try {
    const route = connection.get(encodeGetRoute(address), decodeRoute);
    return route.outputIndex === null ? null : { interfaceIndex: route.outputIndex, source: route.source };
  } catch (error) {
    if (error instanceof NetlinkError && !error.retryable) return null;
    throw error;
  }
}
