/** Routes of the main table: `ip route`. */

import type { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { ENOENT, NetlinkError } from "../../netlink/errors.ts";
import { CREATE, REPLACE } from "../../netlink/message.ts";
import {
  decodeRoute,
  encodeDeleteRoute,
  encodeNewRoute,
  encodeRouteDump,
  type Route,
  type RouteSpec,
  RT_TABLE_MAIN,
  RTN_BLACKHOLE,
} from "../../netlink/route.ts";
import { RTM_DELROUTE, RTM_NEWROUTE } from "../../netlink/rtnetlink.ts";
import { requireIndex } from "../contract/device-index.ts";
import {
  inNetworks,
  isSameAddress,
  type KernelNames,
  type Kind,
  type Operation,
  type Owner,
  objectKey,
  ROUTE_PROTOCOL,
  ROUTE_PROTOCOL_BOOT,
  type Scope,
} from "../contract/kind.ts";
import { encodeGatewayRoute } from "./gateway-route.ts";

export interface RouteObject {
  readonly kind: "route";
  readonly destination: Prefix;
  /** Drops packets instead of sending them (RTN_BLACKHOLE): a route without device and gateway. */
  readonly isBlackhole?: true;
  /** Empty for a blackhole. */
  readonly device: string;
  readonly gateway: Address | null;
  /** The gateway is reachable on the device although no address there covers it (RTNH_F_ONLINK). */
  readonly isOnlink: boolean;
  /** rtnetlink protocol: who created the route. Ours is ROUTE_PROTOCOL. */
  readonly protocol: number;
  /** 0 means the kernel's default: 0 for IPv4, 1024 for IPv6. */
  readonly metric: number;
  /** True when the route refers to a nexthop object instead of an inline gateway. */
  readonly viaNexthop: boolean;
  /** Preferred source address, null when unset. */
  readonly source: Address | null;
  /** It has what no plan sets: an MTU or other metrics, several paths, an encapsulation. */
  readonly hasExtras?: true;
}

export const routeKind: Kind<RouteObject> = {
  rank: 6,
  isDeletable: true,
  keyOf: ({ destination, metric }) => objectKey("route", destination, metric),
  deviceOf: ({ device, isBlackhole }) => (isBlackhole ? null : device),
  isVisible: ({ device, destination }, scope) => scope.devices.has(device) || inNetworks(scope, destination),
  ownerOf: ownerOfRoute,
  isSame: isSameRoute,

  obstacle: (desired, actual, scope) => {
    if (ownerOfRoute(actual, scope) !== "foreign" || isFlanneldDirect(desired, actual)) return null;
    return `a foreign route (protocol ${actual.protocol}, dev ${actual.device}) holds this destination; delete it if the overlay should have it`;
  },

  describe: (route) => {
    const parts = [`route ${route.isBlackhole ? "blackhole " : ""}${route.destination}`];
    if (route.gateway !== null) parts.push(`via ${route.gateway}`);
    if (route.device !== "") parts.push(`dev ${route.device}`);
    parts.push(`proto ${route.protocol}`);
    if (route.metric !== 0) parts.push(`metric ${route.metric}`);
    if (route.source !== null) parts.push(`src ${route.source}`);
    if (route.isOnlink) parts.push("onlink");
    if (route.hasExtras) parts.push("(with metrics, paths or an encapsulation)");
    if (route.viaNexthop) parts.push("(nexthop object)");
    return parts.join(" ");
  },

  encodeClear: (actual, names) => {
    const { outputIndex: _, ...withoutDevice } = specOf(actual, 0, names, true);
    const outputIndex = actual.viaNexthop ? null : names.indexOf(actual.device);
    return encodeDeleteRoute(outputIndex === null ? withoutDevice : { ...withoutDevice, outputIndex });
  },

  encodeScaffold: encodeGatewayRoute,

  wire: {
    types: [RTM_NEWROUTE, RTM_DELROUTE],
    encode: (op, route, names) => {
      if (route.isBlackhole) return encodeBlackhole(op, route);
      const outputIndex = requireIndex(names, route.device, () => routeKind.describe(route));
      const spec = specOf(route, outputIndex, names, op === "delete");
      if (op === "delete") return encodeDeleteRoute(spec);
      // Without EXCL the kernel would overwrite a route that another program created since the last dump.
      return encodeNewRoute(spec, op === "create" ? CREATE : REPLACE);
    },
    decode: (message, names) => {
      const route = decodeRoute(message);
      return route && routeObject(route, names);
    },
    dumps: ({ networks }) =>
      [...new Set(networks.map(({ family }) => family))].map((family) =>
        encodeRouteDump(family, { table: RT_TABLE_MAIN }),
      ),
  },
};

/**
 * Routes of the main table that every packet can take. Those that lead to no single device (multipath, blackhole) have
 * an empty one, also in IPv6, where the kernel shows a blackhole on the loopback device.
 */
function routeObject(route: Route, names: KernelNames): RouteObject | null {
  if (route.table !== RT_TABLE_MAIN || route.tos !== 0) return null;
  const isBlackhole = route.type === RTN_BLACKHOLE;
  const { nexthopId, outputIndex } = route;
  // With net.ipv4.nexthop_compat_mode=0, as FRR advises, the kernel shows the id alone.
  const hop = nexthopId === null || outputIndex !== null ? undefined : names.nexthopOf(nexthopId);
  return {
    kind: "route",
    destination: route.destination,
    ...(isBlackhole ? { isBlackhole } : {}),
    device: isBlackhole ? "" : (hop?.device ?? names.nameOf(outputIndex)),
    gateway: hop?.gateway ?? route.gateway,
    isOnlink: hop?.isOnlink ?? route.isOnlink,
    protocol: route.protocol,
    metric: route.metric,
    viaNexthop: nexthopId !== null,
    source: route.source,
    ...(route.hasExtras ? { hasExtras: true } : {}),
  };
}

function ownerOfRoute(route: RouteObject, scope: Scope): Owner {
  if (route.protocol === ROUTE_PROTOCOL) {
    if (scope.devices.has(route.device)) return "ours";
    if (route.isBlackhole) return inNetworks(scope, route.destination) ? "ours" : "foreign";
    return scope.sharedDevices.has(route.device) && inNetworks(scope, route.destination) ? "ours" : "foreign";
  }
  return isFlanneldRoute(route, scope) && scope.devices.has(route.device) ? "adopted" : "foreign";
}

/**
 * flanneld's forms, all of protocol boot: `SUBNET via SUBNET-BASE dev flannel.N onlink`, `SUBNET via HOST dev flannel.ipip
 * onlink`, and for WireGuard `NETWORK dev flannel-wg`.
 */
function isFlanneldRoute({ protocol, isOnlink, gateway, destination }: RouteObject, scope: Scope): boolean {
  if (protocol !== ROUTE_PROTOCOL_BOOT) return false;
  if (gateway === null) return scope.networks.some((network) => network.equals(destination));
  return isOnlink && (gateway.equals(destination.base) || !inNetworks(scope, gateway));
}

/** flanneld's direct route to a peer, exactly where ours must go: adopting a host includes it. */
function isFlanneldDirect(desired: RouteObject, actual: RouteObject): boolean {
  return (
    actual.protocol === ROUTE_PROTOCOL_BOOT && isSameRoute({ ...desired, protocol: actual.protocol }, actual)
  );
}

function isSameRoute(desired: RouteObject, actual: RouteObject): boolean {
  return (
    actual.isBlackhole === desired.isBlackhole &&
    actual.hasExtras === desired.hasExtras &&
    actual.device === desired.device &&
    isSameAddress(actual.gateway, desired.gateway) &&
    actual.isOnlink === desired.isOnlink &&
    actual.protocol === desired.protocol &&
    actual.viaNexthop === desired.viaNexthop &&
    isSameAddress(actual.source, desired.source)
  );
}

/** `ip route add|replace|del blackhole PREFIX proto P metric M` */
function encodeBlackhole(op: Operation, { destination, protocol, metric }: RouteObject): Uint8Array {
  const spec = { destination, protocol, metric };
  // Without the type: a route through a nexthop object that became a blackhole shows as one, and is deleted as unicast.
  if (op === "delete") return encodeDeleteRoute(spec);
  return encodeNewRoute({ ...spec, type: RTN_BLACKHOLE }, op === "create" ? CREATE : REPLACE);
}

function specOf(route: RouteObject, outputIndex: number, names: KernelNames, isDelete: boolean): RouteSpec {
  const { destination, protocol, metric, gateway, source, isOnlink } = route;
  const common = { destination, protocol, metric, ...(source === null ? {} : { source }) };
  if (!route.viaNexthop) {
    return { ...common, outputIndex, isOnlink, ...(gateway === null ? {} : { gateway }) };
  }
  // A request that names a device never matches a route through a nexthop object (net/ipv4/fib_semantics.c).
  if (isDelete) return common;
  if (gateway === null) return { ...common, outputIndex };
  const nexthopId = names.nexthopId(route.device, gateway);
  if (nexthopId === undefined) throw new NetlinkError(`nexthop for ${routeKind.describe(route)}`, ENOENT);
  return { ...common, nexthopId };
}
