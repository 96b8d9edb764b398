/** Kernel objects that the administrator asked for besides what the backend needs. Pure. */

import { blackholeRoute } from "../../backends/peers.ts";
import type { KernelObject } from "../../backends/state/kinds/registry.ts";
import { entriesOf, type Family, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import type { FirewallSettings } from "../config/config.ts";

const FORWARDING = {
  4: "net/ipv4/ip_forward",
  6: "net/ipv6/conf/all/forwarding",
} as const satisfies Record<Family, string>;

/** `own` are this host's subnets, `uplinks` the interfaces by which it reaches other hosts. */
export function hostObjects(
  { enableForwarding, blackholeRoute: isGuarded }: FirewallSettings,
  own: PerFamily<Prefix>,
  uplinks: readonly string[],
): readonly KernelObject[] {
  const objects: KernelObject[] = [];
  for (const [family, subnet] of entriesOf(own)) {
    if (enableForwarding) objects.push(...forwarding(family, uplinks));
    // Packets to containers that are not there must not leave by the default route, or go round in circles.
    if (isGuarded) objects.push(blackholeRoute(subnet));
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
