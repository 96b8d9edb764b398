/** Names of the devices of named networks. Pure. */

import type { NetworkId } from "../../ipam/named-networks/named-network.ts";
import { shortDigest } from "../attachment/digest.ts";
import { SEGMENT_PORT_PREFIX } from "../attachment/port-name.ts";

/** What begins the name of every bridge of a named network. */
export const BRIDGE_PREFIX = "tb-";

const NAME = /^t[bv]-[0-9a-f]{4,6}$/;

/** The devices of a named network, by its VNI: at most 9 of the 15 characters that a name can have. */
export interface SegmentDevices {
  readonly bridge: string;
  readonly vxlan: string;
}

export function segmentDevices(vni: number): SegmentDevices {
  const digits = vni.toString(16);
  return { bridge: `${BRIDGE_PREFIX}${digits}`, vxlan: `tv-${digits}` };
}

/** True for a name that segmentDevices() gives. */
export function isSegmentDevice(name: string): boolean {
  return NAME.test(name);
}

/** The host's end of a container's pair; the same for every call about an endpoint, so that no record is needed. */
export function segmentPortName(network: NetworkId, endpoint: string): string {
  return `${SEGMENT_PORT_PREFIX}${shortDigest(`${network}\n${endpoint}`).slice(0, 12)}`;
}
