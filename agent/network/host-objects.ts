/** Kernel objects that the administrator asked for besides what the backend needs. Pure. */

import { ROUTE_PROTOCOL } from "../../backends/state/contract/kind.ts";
import type { KernelObject } from "../../backends/state/kinds/registry.ts";
import { entriesOf, type Family, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import type { FirewallSettings } from "../config/config.ts";

/** Behind every other route to the same prefix, such as that of the containers' bridge. */
const LAST_METRIC = 0xffff_ffff;

const FORWARDING = {
  4: "net/ipv4/ip_forward",
  6: "net/ipv6/conf/all/forwarding",
} as const satisfies Record<Family, string>;

/** `own` are this host's subnets, `uplinks` the interfaces by which it reaches other hosts. */
export function hostObjects(
  { enableForwarding, blackholeRoute }: FirewallSettings,
  own: PerFamily<Prefix>,
  uplinks: readonly string[] = [],
): readonly KernelObject[] {
  const objects: KernelObject[] = [];
  for (const [family, subnet] of entriesOf(own)) {
    if (enableForwarding) objects.push(...forwarding(family, uplinks));
    if (blackholeRoute) objects.push(blackhole(subnet));
  }
  return objects;
}

/**
 * A router ignores router advertisements unless accept_ra is 2, and deletes its advertised default routes when it becomes
 * one (Linux ip-sysctl, accept_ra): so accept_ra comes first. A 0 stays, because another program reads the advertisements
 * there, or none shall.
 */
function forwarding(family: Family, uplinks: readonly string[]): KernelObject[] {
  const accepting = uplinks.map((device): KernelObject => {
    const path = `net/ipv6/conf/${device}/accept_ra`;
    return { kind: "sysctl", path, device, value: "2", onlyOver: "1" };
  });
  return [
    ...(family === 6 ? accepting : []),
    { kind: "sysctl", path: FORWARDING[family], device: null, value: "1" },
  ];
}

/** Packets to containers that are not there must not leave by the default route, or go round in circles. */
function blackhole(destination: Prefix): KernelObject {
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
