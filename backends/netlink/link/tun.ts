/** TUN and TAP devices (linux/if_link.h IFLA_TUN_*): shown by netlink, made by /dev/net/tun. No I/O. */

import type { AttributeReader } from "../attribute.ts";

/** linux/if_link.h */
const IFLA_TUN_TYPE = 3;
const IFLA_TUN_PERSIST = 6;
/** linux/if_tun.h */
const IFF_TUN = 1;

/** A TUN or TAP device as the kernel shows it. */
export interface Tun {
  /** `tun` carries IP packets, `tap` Ethernet frames. */
  readonly mode: "tun" | "tap";
  /** It outlives the program that made it. */
  readonly isPersistent: boolean;
}

/** Decodes IFLA_INFO_DATA of a TUN or TAP device. Throws CodecError. */
export function decodeTun(attributes: AttributeReader): Tun {
  let mode: Tun["mode"] = "tap";
  let isPersistent = false;
  while (attributes.next()) {
    if (attributes.type === IFLA_TUN_TYPE) mode = attributes.u8() === IFF_TUN ? "tun" : "tap";
    else if (attributes.type === IFLA_TUN_PERSIST) isPersistent = attributes.bool();
  }
  return { mode, isPersistent };
}
