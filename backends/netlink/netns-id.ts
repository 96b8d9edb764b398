/** Ids by which this network namespace knows others (linux/net_namespace.h): `ip netns list-id`. No I/O. */

import { MessageWriter, type NetlinkMessage, NLM_F_DUMP } from "./message.ts";
import { AF_UNSPEC, RTM_GETNSID } from "./rtnetlink.ts";

/** linux/net_namespace.h */
const NETNSA_NSID = 1;
const NETNSA_FD = 3;
const RTGENMSG_BYTES = 4;

/** `ip netns list-id`. The kernel gives a namespace an id when something crosses into it, such as a device. */
export function encodeNetnsIdDump(): Buffer {
  return new MessageWriter(RTM_GETNSID, NLM_F_DUMP).u8(AF_UNSPEC).u8(0).u16(0).finish();
}

/** `ip netns list-id` for one namespace, by an open descriptor of it. The answer may be that it has none. */
export function encodeGetNetnsId(netnsFd: number): Buffer {
  return new MessageWriter(RTM_GETNSID, 0).u8(AF_UNSPEC).u8(0).u16(0).attrU32(NETNSA_FD, netnsFd).finish();
}

/** Decodes RTM_NEWNSID; null for a namespace without an id. Throws CodecError. */
export function decodeNetnsId(message: NetlinkMessage): number | null {
  let id = -1;
  const attributes = message.attributes(RTGENMSG_BYTES);
  while (attributes.next()) if (attributes.type === NETNSA_NSID) id = attributes.i32();
  return id < 0 ? null : id;
}
