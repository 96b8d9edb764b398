/**
 * Which kernel objects are ours: the rules by which leftovers are removed and everybody else's are left alone.
 *
 * Pure. A wrong "ours" deletes an administrator's object, a wrong "foreign" leaves rubbish behind, so each
 * kind has its rule written out here and nowhere else.
 */

import type { Prefix } from "../../ipam/addresses/ip.ts";
import { type KernelObject, ROUTE_PROTOCOL, ROUTE_PROTOCOL_BOOT, type RouteObject } from "./objects.ts";

/** The part of the kernel's state that one network may look at and change. */
export interface Scope {
  /** Devices that belong to this network alone (`flannel.1`, or one of an earlier VNI that must go). */
  readonly devices: ReadonlySet<string>;
  /** Interfaces of the host on which we may put routes (the tunnel's parent, for direct routes). */
  readonly sharedDevices: ReadonlySet<string>;
  /** The cluster's networks: in force, and those whose leftovers may still be there. */
  readonly networks: readonly Prefix[];
  /** Files under /proc/sys that the plan may set. */
  readonly sysctls: ReadonlySet<string>;
}

/**
 * `ours`: we made it, or it cannot be anybody else's. `adopted`: flanneld made it on a host that we take
 * over. `foreign`: seen because it may be in our way; never changed unless it displaced ours.
 */
export type Owner = "ours" | "adopted" | "foreign";

export function ownerOf(object: KernelObject, scope: Scope): Owner {
  switch (object.kind) {
    case "link":
      return scope.devices.has(object.name) && object.type === "vxlan" ? "ours" : "foreign";
    case "address":
      // Like flanneld: an address outside the cluster's networks is the administrator's (or the kernel's
      // own link-local one).
      return scope.devices.has(object.device) && inNetworks(scope, object.address.address)
        ? "ours"
        : "foreign";
    case "route":
      return ownerOfRoute(object, scope);
    case "nexthop":
      return object.protocol === ROUTE_PROTOCOL && scope.devices.has(object.device) ? "ours" : "foreign";
    case "neighbour":
    case "fdb":
      // Entries in any other state come and go by themselves (NUD, learning).
      return scope.devices.has(object.device) && object.isPermanent ? "ours" : "foreign";
    case "sysctl":
      return scope.sysctls.has(object.path) ? "ours" : "foreign";
  }
}

/** True when a dump must report the object: it is ours, or it can collide with one of ours. */
export function isVisible(object: KernelObject, scope: Scope): boolean {
  switch (object.kind) {
    case "link":
      return scope.devices.has(object.name);
    case "route":
      return scope.devices.has(object.device) || inNetworks(scope, object.destination);
    case "sysctl":
      return scope.sysctls.has(object.path);
    default:
      return scope.devices.has(object.device);
  }
}

function ownerOfRoute(route: RouteObject, scope: Scope): Owner {
  if (route.protocol === ROUTE_PROTOCOL) {
    if (scope.devices.has(route.device)) return "ours";
    if (route.isBlackhole) return inNetworks(scope, route.destination) ? "ours" : "foreign";
    return scope.sharedDevices.has(route.device) && inNetworks(scope, route.destination) ? "ours" : "foreign";
  }
  return isFlanneldRoute(route) && scope.devices.has(route.device) ? "adopted" : "foreign";
}

/** flanneld's shape: `<subnet> via <subnet base> dev flannel.N onlink`, protocol boot. */
function isFlanneldRoute(route: RouteObject): boolean {
  return (
    route.protocol === ROUTE_PROTOCOL_BOOT &&
    route.isOnlink &&
    route.gateway?.equals(route.destination.base) === true
  );
}

function inNetworks(scope: Scope, inner: Parameters<Prefix["contains"]>[0]): boolean {
  return scope.networks.some((network) => network.contains(inner));
}
