/** Kernel objects that the administrator asked for besides what the backend needs. Pure. */

import { ROUTE_PROTOCOL } from "../../backends/state/contract/kind.ts";
import type { KernelObject } from "../../backends/state/kinds/registry.ts";
import { entriesOf, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import type { FirewallSettings } from "../config/config.ts";

/** Behind every other route to the same prefix, such as that of the containers' bridge. */
const LAST_METRIC = 0xffff_ffff;

/** `own` are this host's subnets. */
export function hostObjects(
  { enableForwarding, blackholeRoute }: FirewallSettings,
  own: PerFamily<Prefix>,
): readonly KernelObject[] {
  const objects: KernelObject[] = [];
  if (enableForwarding)
    objects.push({ kind: "sysctl", path: "net/ipv4/ip_forward", device: null, value: "1" });
  if (blackholeRoute) for (const [, subnet] of entriesOf(own)) objects.push(blackhole(subnet));
  return objects;
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
