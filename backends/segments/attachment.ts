/** How a container joins the bridge of a named network where this host configures the container's end itself. Pure. */

import type { Mac } from "../../ipam/addresses/mac.ts";
import type { Allocation } from "../../ipam/containers/ranges.ts";
import type { NetworkId } from "../../ipam/named-networks/named-network.ts";
import type { AttachmentSpec } from "../attachment/spec.ts";
import type { NetnsHandle } from "../netlink/netns.ts";
import { type SegmentDevices, segmentPortName } from "./names.ts";

export interface SegmentAttachment {
  readonly network: NetworkId;
  readonly devices: Pick<SegmentDevices, "bridge">;
  readonly mtuBytes: number;
  /** Of the engine, as in the member's record. */
  readonly endpoint: string;
  readonly container: {
    readonly netns: NetnsHandle;
    readonly interfaceName: string;
    readonly mac: Mac;
    readonly addresses: readonly Allocation[];
  };
}

/**
 * The specification for attach(), after the network's bridge is there. The firewall checks the port's frames, so that the
 * attachment has no rules of its own; the bridge has no gateway, so that the container gets no route out.
 */
export function segmentAttachmentSpec(request: SegmentAttachment): AttachmentSpec {
  const { network, devices, mtuBytes, endpoint, container } = request;
  const { netns, interfaceName, mac, addresses } = container;
  return {
    network,
    mtuBytes,
    bridge: { name: devices.bridge, isPromiscuous: false, gateway: null },
    port: {
      name: segmentPortName(network, endpoint),
      isHairpin: false,
      isIsolated: false,
      vlans: { untagged: 0, tagged: [], keepsDefault: true },
    },
    container: { netns, name: interfaceName, mac, addresses, routes: [] },
    rules: { masquerade: null, guardsSource: false },
  };
}
