/** WireGuard devices (drivers/net/wireguard). Keys, port and peers are objects of their own: kinds/wg-device.ts, wg-peer.ts. */

import { encodeNewLink } from "../../netlink/link/link.ts";
import type { DeviceType } from "../contract/device-type.ts";

export interface WireguardDetails {
  readonly type: "wireguard";
}

/** Beyond what any device may have (net/core/rtnetlink.c, dev_validate_mtu), which is checked after the device's type. */
const IMPOSSIBLE_MTU = 0xffff_ffff;

/** A request that creates nothing and shows whether the kernel has WireGuard: without it the answer is EOPNOTSUPP. */
export function encodeWireguardProbe(): Uint8Array {
  return encodeNewLink({ name: "tulle-probe", mtuBytes: IMPOSSIBLE_MTU, info: { kind: "wireguard" } });
}

export const wireguardDevice: DeviceType<WireguardDetails> = {
  type: "wireguard",
  isSame: () => true,
  needsRecreation: () => false,
  obstacle: () => null,
  exclusiveResource: () => null,
  describe: () => "wireguard",
  encodeNew: () => ({ kind: "wireguard" }),
  encodeChange: () => ({ kind: "wireguard" }),
  decode: ({ type }) => (type === "wireguard" ? { type } : null),
  extras: () => [],
};
