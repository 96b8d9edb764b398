/** Changes of per-device settings (linux/netconf.h): `ip monitor netconf`. Messages only, no I/O. */

import type { NetlinkMessage } from "./message.ts";

/** linux/netconf.h */
const NETCONFA_IFINDEX = 1;
const NETCONFMSG_BYTES = 4;

/** Stands for all devices, or for those to come. */
export const NETCONFA_IFINDEX_ALL = -1;

/** The device whose forwarding, rp_filter or the like changed, decoded from RTM_NEWNETCONF. Throws CodecError. */
export function decodeNetconf(message: NetlinkMessage): number | null {
  const attributes = message.attributes(NETCONFMSG_BYTES);
  while (attributes.next()) if (attributes.type === NETCONFA_IFINDEX) return attributes.i32();
  return null;
}
