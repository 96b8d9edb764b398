/** What backends share when they plan for a peer. Pure. */

import type { Address, Family, Prefix } from "../ipam/addresses/ip.ts";
import type { Lease } from "../ipam/leases/lease.ts";
import type { HostFacts, PreparedBackend } from "./backend.ts";
import { ROUTE_PROTOCOL } from "./state/contract/kind.ts";
import type { NexthopObject } from "./state/kinds/nexthop.ts";
import type { RouteObject } from "./state/kinds/route.ts";

/** The kernel's default metric for IPv6 routes (IP6_RT_PRIO_USER, linux/ipv6_route.h). */
const IPV6_METRIC = 1024;

/** Why a lease of another backend is rejected; null for one of the same. */
export function typeProblem(
  { attrs }: Lease,
  { type, leaseType }: Pick<PreparedBackend, "type" | "leaseType">,
): string | null {
  if (attrs.backendType === leaseType) return null;
  return `its backend is "${attrs.backendType}" where this network uses ${type}; all hosts must use one backend`;
}

/** Why a lease with a subnet in one of the families, but without an address there, is rejected; null for all others. */
export function addressProblem({ subnets, attrs }: Lease, families: readonly Family[]): string | null {
  const missing = families.find(
    (family) => subnets[family] !== undefined && attrs.publicAddress[family] === undefined,
  );
  if (missing === undefined) return null;
  return `it has no public IPv${missing} address to send packets to; restart its host's agent or delete the key`;
}

/** Whether a packet reaches the address without a router. */
export function isOnLink({ uplinks }: HostFacts, address: Address): boolean {
  const prefixes = uplinks[address.family]?.onLinkPrefixes ?? [];
  return prefixes.some((prefix) => prefix.contains(address));
}

/**
 * Whether this host sends to the address without a router. Some providers keep hosts of one link apart, and have them
 * route the link's own prefix by a router.
 */
export function isDirect(host: HostFacts, address: Address): boolean {
  const { onLinkPrefixes = [], routedPrefixes = [] } = host.uplinks[address.family] ?? {};
  return longest(onLinkPrefixes, address) > longest(routedPrefixes, address);
}

/** The length of the longest prefix that contains the address; -1 for none. */
function longest(prefixes: readonly Prefix[], address: Address): number {
  return Math.max(-1, ...prefixes.filter((one) => one.contains(address)).map(({ length }) => length));
}

/**
 * Whether the route to the network does not lead to the subnet: while a network moves to another range, hosts of both
 * ranges are in it. False for a family that the network does not have.
 */
export function isElsewhere(subnet: Prefix, { networks }: HostFacts): boolean {
  const network = networks[subnet.family];
  return network !== undefined && !network.contains(subnet);
}

/** The interfaces by which packets leave for other hosts. */
export function interfacesOf({ uplinks }: HostFacts): readonly string[] {
  return [...new Set(Object.values(uplinks).map((uplink) => uplink.interface))];
}

/** A route that is marked as ours: `DESTINATION dev DEVICE`. */
export function deviceRoute(destination: Prefix, device: string): RouteObject {
  return {
    kind: "route",
    destination,
    device,
    gateway: null,
    isOnlink: false,
    protocol: ROUTE_PROTOCOL,
    metric: destination.family === 6 ? IPV6_METRIC : 0,
    viaNexthop: false,
    source: null,
  };
}

/** A route that is marked as ours: `DESTINATION via GATEWAY dev DEVICE`. */
export function routeVia(
  destination: Prefix,
  gateway: Address,
  device: string,
  { isOnlink = false, viaNexthop = false } = {},
): RouteObject {
  const metric = destination.family === 6 ? IPV6_METRIC : 0;
  return {
    kind: "route",
    destination,
    device,
    gateway,
    isOnlink,
    protocol: ROUTE_PROTOCOL,
    metric,
    viaNexthop,
    source: null,
  };
}

/** Behind every other route to the same prefix. */
const LAST_METRIC = 0xffff_ffff;

/** A route that is marked as ours and drops what no route in front of it takes: `blackhole DESTINATION`. */
export function blackholeRoute(destination: Prefix): RouteObject {
  return {
    kind: "route",
    destination,
    isBlackhole: true,
    device: "",
    gateway: null,
    isOnlink: false,
    protocol: ROUTE_PROTOCOL,
    metric: LAST_METRIC,
    viaNexthop: false,
    source: null,
  };
}

/** The object that a route refers to when there are many: see planner.ts. */
export function nexthopFor(gateway: Address, device: string): NexthopObject {
  return { kind: "nexthop", device, gateway, isOnlink: true, protocol: ROUTE_PROTOCOL };
}
