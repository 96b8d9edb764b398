/** Kernel objects that the administrator asked for besides what the backend needs. Pure. */

import { blackholeRoute } from "../../backends/peers.ts";
import type { KernelObject } from "../../backends/state/kinds/registry.ts";
import { entriesOf, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import type { FirewallSettings } from "../config/config.ts";

/** `own` are this host's subnets. */
export function hostObjects(
  { enableForwarding, blackholeRoute: isGuarded }: FirewallSettings,
  own: PerFamily<Prefix>,
): readonly KernelObject[] {
  const objects: KernelObject[] = [];
  if (enableForwarding)
    objects.push({ kind: "sysctl", path: "net/ipv4/ip_forward", device: null, value: "1" });
  // Packets to containers that are not there must not leave by the default route, or go round in circles.
  if (isGuarded) for (const [, subnet] of entriesOf(own)) objects.push(blackholeRoute(subnet));
  return objects;
}
