/** TUN devices (drivers/net/tun.c), which a program carries the packets of. Made by /dev/net/tun, not by rtnetlink. */

import { EOPNOTSUPP, NetlinkError } from "../../netlink/errors.ts";
import type { DeviceType } from "../contract/device-type.ts";

/** Attributes of a TUN device (linux/if_link.h IFLA_TUN_*). */
export interface TunDetails {
  readonly type: "tun";
  /** `tun` carries IP packets, `tap`, which is never in a plan, Ethernet frames. */
  readonly mode: "tun" | "tap";
}

export const tunDevice: DeviceType<TunDetails> = {
  type: "tun",
  // The mode is all, and is fixed at creation.
  isSame: () => true,
  needsRecreation: (want, have) => want.mode !== have.mode,
  obstacle: (want, have) =>
    want.mode === have.mode ? null : `a TAP device of this name exists; delete or rename it`,
  exclusiveResource: () => null,
  describe: ({ mode }) => `mode ${mode}`,
  encodeNew: refuse,
  encodeChange: refuse,
  decode: ({ tun }) => (tun === undefined ? null : { type: "tun", mode: tun.mode }),
  extras: () => [],
};

/** The kernel's answer to it ("tun/tap creation via rtnetlink is not supported"). */
function refuse(): never {
  throw new NetlinkError("encode a TUN device", EOPNOTSUPP);
}
