/** Which devices lead out of this host: a bridge that does is not its containers', whatever addresses it has. Pure. */

import { RTN_UNICAST } from "../../backends/netlink/route.ts";
import { ROUTE_PROTOCOL } from "../../backends/state/contract/kind.ts";
import type { Address } from "../../ipam/addresses/ip.ts";
import type { HostLink, HostRoute, HostSnapshot } from "./host-snapshot.ts";

/**
 * True when the default route or the route to one of the stores leaves by `link` to a router, or when such a store is
 * on the link's own segment and a port of the bridge is a network card. dhcpcd also puts default routes on bridges of
 * containers, but without a router; a store may run in a container, whose bridge has no such port.
 */
export function leadsOut(link: HostLink, host: HostSnapshot, stores: readonly Address[]): boolean {
  const routers = host.routes.filter((route) => isByRouter(route) && route.outputIndex === link.index);
  if (routers.some(({ destination }) => destination.length === 0)) return true;
  return stores.some((store) => {
    if (store.isLoopback || host.routeTo(store)?.interfaceIndex !== link.index) return false;
    return routers.some(({ destination }) => destination.contains(store)) || hasCard(link, host);
  });
}

function isByRouter({ type, gateway, protocol }: HostRoute): boolean {
  return type === RTN_UNICAST && gateway !== null && protocol !== ROUTE_PROTOCOL;
}

/** Containers and virtual machines are attached by veth and tun devices. */
function hasCard(bridge: HostLink, { links }: HostSnapshot): boolean {
  return links.some(
    ({ masterIndex, type }) => masterIndex === bridge.index && !["veth", "tun"].includes(type),
  );
}

/** A network card, or a VLAN or bond on one: other hosts may be on its segment. */
export function isCard({ type }: HostLink): boolean {
  return ["", "vlan", "bond", "team"].includes(type);
}
