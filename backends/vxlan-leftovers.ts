/** Tunnel devices that an earlier configuration of this host left behind: another VNI, or another family. Pure. */

import type { Mac } from "../ipam/addresses/mac.ts";
import type { LinkObject } from "./state/kinds/link.ts";
import { VXLAN_DEVICE_NAME } from "./vxlan.ts";

/**
 * Names of devices that this host's agent made and its network no longer has: put them into the scope, and they go.
 *
 * Name and VNI alone prove nothing, since flanneld and others choose the same; the hardware address does, because it
 * is derived from this host's identity or was written down when the device was adopted.
 *
 * @param links every device of the host
 * @param wanted devices of the network in force
 * @param recordedMacs hardware addresses of all devices that this host ever had
 */
export function leftoverDevices(
  links: readonly LinkObject[],
  wanted: ReadonlySet<string>,
  recordedMacs: ReadonlySet<Mac>,
): readonly string[] {
  return links
    .filter(({ name, mac, details }) => {
      if (details?.type !== "vxlan" || mac === null || wanted.has(name) || !recordedMacs.has(mac))
        return false;
      return VXLAN_DEVICE_NAME.exec(name)?.groups?.vni === String(details.vni);
    })
    .map(({ name }) => name);
}
