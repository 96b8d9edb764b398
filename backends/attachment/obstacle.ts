/** Whether a bridge can take another container now. Reads only. */

import type { InterfaceAddress } from "../../ipam/addresses/ip.ts";
import { Prefix } from "../../ipam/addresses/ip.ts";
import { ConflictError } from "../../ipam/errors.ts";
import { NetlinkConnection } from "../netlink/connection.ts";
import { allAddresses, excludedBy, ofDevice, without } from "./addresses.ts";
import { countPorts, findSubnetConflict } from "./bridge.ts";
import { findLink } from "./links.ts";
import { type BridgeSpec, gatewayDeviceName, type VlanSpec } from "./spec.ts";

export interface Obstacle {
  readonly error: ConflictError;
  /** Running containers are unreachable from other hosts as well. */
  readonly isolatesContainers: boolean;
}

/** Why attach() would reject these gateways, one per range set; null when it would not. Throws NetlinkError. */
export function findObstacle(
  bridge: BridgeSpec,
  vlans: VlanSpec,
  gateways: readonly InterfaceAddress[],
): Obstacle | null {
  if (bridge.gateway === null) return null;
  const host = NetlinkConnection.open();
  try {
    const deviceName = gatewayDeviceName(bridge.name, vlans);
    const device = findLink(host, deviceName);
    const all = allAddresses(host);
    for (const gateway of gateways) {
      const error = findSubnetConflict(host, deviceName, device?.index ?? null, all, gateway);
      if (error !== null) return { error, isolatesContainers: false };
    }
    const link = findLink(host, bridge.name);
    if (device === null || link === null || bridge.gateway.force) return null;
    if (countPorts(host, link, device) === 0) return null;
    const present = ofDevice(all, device);
    for (const gateway of without(gateways, present)) {
      const [former] = excludedBy(without(present, gateways), gateway, bridge.gateway.network);
      if (former === undefined) continue;
      const subnet = Prefix.of(gateway.address, gateway.length);
      const error = new ConflictError(
        `${deviceName} holds ${former.address}/${former.length} and has containers, but this host's subnet is now ${subnet}`,
        {
          details: {
            remedy: "containers of the old subnet are unreachable from other hosts: stop or recreate them",
          },
        },
      );
      return { error, isolatesContainers: true };
    }
    return null;
  } finally {
    host.close();
  }
}
