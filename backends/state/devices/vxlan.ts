/** VXLAN devices (drivers/net/vxlan). */

import type { Address } from "../../../ipam/addresses/ip.ts";
import { ENODEV, NetlinkError } from "../../netlink/errors.ts";
import { encodeNewLink } from "../../netlink/link/link.ts";
import type { VxlanChanges } from "../../netlink/link/vxlan.ts";
import type { DeviceType } from "../contract/device-type.ts";
import { isSameAddress, type KernelNames } from "../contract/kind.ts";

/** Attributes of a VXLAN device (linux/if_link.h IFLA_VXLAN_*). */
export interface VxlanDetails {
  readonly type: "vxlan";
  /** 1 .. 2^24 - 1. */
  readonly vni: number;
  /** Source address of tunnel packets; null, never in a plan, when the kernel chooses it. */
  readonly local: Address | null;
  /** Name of the interface that carries the tunnel. */
  readonly parent: string;
  /** UDP destination port. */
  readonly port: number;
  readonly learning: boolean;
  /** Group-based policy extension. */
  readonly gbp: boolean;
}

/** One more than the largest: the kernel looks up the type of device first, and then rejects this. */
const IMPOSSIBLE_VNI = 2 ** 24;

/** A request that creates nothing and shows whether the kernel has VXLAN: without it the answer is EOPNOTSUPP. */
export function encodeVxlanProbe(): Uint8Array {
  return encodeNewLink({ name: "tulle-probe", info: { kind: "vxlan", vni: IMPOSSIBLE_VNI } });
}

export const vxlanDevice: DeviceType<VxlanDetails> = {
  type: "vxlan",

  isSame: (want, have) =>
    want.learning === have.learning && want.parent === have.parent && isSameAddress(want.local, have.local),

  // vxlan_changelink rejects these.
  needsRecreation: (want, have) =>
    want.vni !== have.vni ||
    want.port !== have.port ||
    want.gbp !== have.gbp ||
    want.local?.family !== (have.local ?? want.local)?.family,

  obstacle: (want, have) =>
    want.vni === have.vni
      ? null
      : `a device of this name with VNI ${have.vni} exists where the network wants ${want.vni}; delete or rename it`,

  // The kernel allows one device per VNI, port and family of outer addresses.
  exclusiveResource: ({ vni, port, local }) => `vxlan ${vni} ${port} ${local?.family ?? 4}`,

  describe: ({ vni, local, parent, port, learning, gbp }) =>
    `vxlan id ${vni} local ${local ?? "any"} dev ${parent} dstport ${port} ${learning ? "learning" : "nolearning"}${gbp ? " gbp" : ""}`,

  encodeNew: (details, names) => ({
    ...changesOf(details, names),
    port: details.port,
    gbp: details.gbp,
  }),

  encodeChange: changesOf,

  decode: ({ vxlan }, names) => {
    if (vxlan === undefined) return null;
    const { vni, local, port, learning, gbp } = vxlan;
    return { type: "vxlan", vni, local, parent: names.nameOf(vxlan.parentIndex), port, learning, gbp };
  },

  extras: ({ vxlan }) => vxlan?.options ?? [],
};

function changesOf({ vni, learning, local, parent }: VxlanDetails, names: KernelNames): VxlanChanges {
  const parentIndex = names.indexOf(parent);
  if (parentIndex === null)
    throw new NetlinkError(`vxlan id ${vni}`, ENODEV, {
      kernelMessage: `no device ${parent}`,
      retryable: true,
    });
  return { kind: "vxlan", vni, learning, parentIndex, ...(local === null ? {} : { local }) };
}
