/** What a fall-back needs beside the backends: a second one that carries packets while a peer's tunnel fails. Pure. */

import type { Family, PerFamily, Prefix } from "../ipam/addresses/ip.ts";
import type { LeaseKey } from "../ipam/leases/lease.ts";
import type { PreparedBackend } from "./backend.ts";
import type { RouteObject } from "./state/kinds/route.ts";
import type { SysctlObject } from "./state/kinds/sysctl.ts";

/** The backend that carries packets to a peer while its tunnel fails. */
export interface Fallback {
  readonly part: PreparedBackend;
  /** Whether it carries the packets of a family to a peer now. The answer may change between two calls. */
  isUsed(peer: LeaseKey, family: Family): boolean;
}

/** Behind the route that carries packets: only a socket that names the device takes it. */
const STANDBY_METRIC = 8192;

/**
 * A tunnel's route that no packet takes on its own. A gateway inside the destination would be looked up by the route in
 * front, which leads elsewhere (ip6_route_check_nh_onlink in net/ipv6/route.c); its neighbour entry needs none.
 */
export function standbyRoute(route: RouteObject): RouteObject {
  const behind = { ...route, metric: STANDBY_METRIC };
  const isInside = route.gateway !== null && route.destination.contains(route.gateway);
  return isInside ? { ...behind, gateway: null, isOnlink: false, viaNexthop: false } : behind;
}

/**
 * Packets of a peer arrive by the device that the peer chose, whichever this host sends by. The kernel takes the larger
 * of a device's rp_filter and that of all devices, and 2 accepts what arrives by another device (ip-sysctl).
 */
export function looseFilters(
  parts: readonly Pick<PreparedBackend, "devices">[],
  own: PerFamily<Prefix>,
): readonly SysctlObject[] {
  if (own[4] === undefined) return [];
  const devices = new Set(parts.flatMap((part) => part.devices[4] ?? []));
  return [...devices].map((device) => ({
    kind: "sysctl",
    path: `net/ipv4/conf/${device}/rp_filter`,
    device,
    value: "2",
  }));
}
