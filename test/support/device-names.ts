/** A name of each kind of device that tulle creates. */

import { segmentDevices, segmentPortName } from "../../backends/segments/names.ts";
import type { NetworkId } from "../../ipam/named-networks/named-network.ts";

const NETWORK = "0123456789abcdef" as NetworkId;

/** With a hardware address. */
export const ETHERNET_DEVICES: readonly string[] = [
  ...["flannel.1", "flannel-v6.1"],
  ...Object.values(segmentDevices(4096)),
  segmentPortName(NETWORK, "endpoint"),
  // Of the agent's Docker driver, until the engine renames it.
  "tc-0123456789ab",
];

export const DEVICES: readonly string[] = [
  ...ETHERNET_DEVICES,
  ...["flannel.ipip", "flannel-wg", "flannel-wg-v6", "flannel0"],
];
