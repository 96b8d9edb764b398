/** IPv4-in-IPv4 tunnel devices (net/ipv4/ipip.c, RFC 2003). */

import type { Address } from "../../../ipam/addresses/ip.ts";
import type { IpipSpec } from "../../netlink/link/ipip.ts";
import { encodeNewLink } from "../../netlink/link/link.ts";
import type { DeviceType } from "../contract/device-type.ts";
import { isSameAddress } from "../contract/kind.ts";

export interface IpipDetails {
  readonly type: "ipip";
  /** Source address of tunnel packets; null, never in a plan, when the device takes any. */
  readonly local: Address | null;
  /** The one destination; null, as in every plan, where the route's gateway names it. */
  readonly remote: Address | null;
}

/** linux/in.h IPPROTO_RAW: the driver carries no such payload (ipip_tunnel_validate). */
const IMPOSSIBLE_PROTOCOL = 255;

/** A request that creates nothing and shows whether the kernel has IPIP: without it the answer is EOPNOTSUPP. */
export function encodeIpipProbe(): Uint8Array {
  return encodeNewLink({ name: "tulle-probe", info: { kind: "ipip", protocol: IMPOSSIBLE_PROTOCOL } });
}

export const ipipDevice: DeviceType<IpipDetails> = {
  type: "ipip",

  isSame: (want, have) => isSameAddress(want.local, have.local),

  // A device with a remote address is of the point-to-point kind, which the kernel never changes (ip_tunnel_changelink).
  needsRecreation: (want, have) => !isSameAddress(want.remote, have.remote),

  obstacle: () => null,

  // The kernel allows one device per pair of addresses (ip_tunnel_find).
  exclusiveResource: ({ local, remote }) => `ipip ${local ?? "any"} ${remote ?? "any"}`,

  describe: ({ local, remote }) => `ipip local ${local ?? "any"} remote ${remote ?? "any"}`,

  encodeNew: specOf,
  encodeChange: specOf,

  decode: ({ ipip }) => {
    if (ipip === undefined) return null;
    return { type: "ipip", local: ipip.local, remote: ipip.remote };
  },

  extras: ({ ipip }) => ipip?.options ?? [],
};

/** Without path MTU discovery, as flannel: a tunnel packet carries DF only when the packet inside does. */
function specOf({ local, remote }: IpipDetails): IpipSpec {
  return {
    kind: "ipip",
    ...(local === null ? {} : { local }),
    ...(remote === null ? {} : { remote }),
    pathMtuDiscovery: false,
  };
}
