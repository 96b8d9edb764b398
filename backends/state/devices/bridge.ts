/** Bridges (net/bridge) of which every setting is ours. */

import type { DeviceType } from "../contract/device-type.ts";

/** Attributes of a bridge (linux/if_link.h IFLA_BR_*). */
export interface BridgeDetails {
  readonly type: "bridge";
  readonly multicastSnooping: boolean;
  readonly stp: boolean;
  readonly vlanFiltering: boolean;
}

export const bridgeDevice: DeviceType<BridgeDetails> = {
  type: "bridge",
  isSame: (want, have) => want.multicastSnooping === have.multicastSnooping && want.stp === have.stp,
  // Kernels without VLAN filtering reject the attribute, also to turn it off.
  needsRecreation: (want, have) => want.vlanFiltering !== have.vlanFiltering,
  obstacle: () => null,
  exclusiveResource: () => null,
  describe: ({ multicastSnooping, stp, vlanFiltering }) =>
    `mcast_snooping ${Number(multicastSnooping)} stp_state ${Number(stp)} vlan_filtering ${Number(vlanFiltering)}`,
  encodeNew: changesOf,
  encodeChange: changesOf,
  decode: ({ bridge }) => {
    if (bridge === undefined) return null;
    const { multicastSnooping, stp, vlanFiltering } = bridge;
    return { type: "bridge", multicastSnooping, stp, vlanFiltering };
  },
  extras: () => [],
};

function changesOf({ multicastSnooping, stp }: BridgeDetails) {
  return { kind: "bridge", multicastSnooping, stp } as const;
}
