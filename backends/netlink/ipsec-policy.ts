/** IPsec policies (linux/xfrm.h): `ip xfrm policy`. Messages only, no I/O. */

import { Address, type Family, Prefix } from "../../ipam/addresses/ip.ts";
import { MessageWriter, type NetlinkMessage, NLM_F_DUMP } from "./message.ts";
import { familyOf } from "./rtnetlink.ts";

/** linux/netlink.h */
export const NETLINK_XFRM = 6;
/** linux/xfrm.h */
const XFRM_MSG_GETPOLICY = 21;
const XFRMA_TMPL = 5;
const XFRM_POLICY_BLOCK = 1;
/** XFRM_POLICY_IN, OUT and FWD; sockets' own policies have higher numbers. */
const DIRECTIONS = ["in", "out", "fwd"] as const;

/** `struct xfrm_userpolicy_info` with its `struct xfrm_selector`, offsets in bytes. */
const POLICY_BYTES = 168;
const SOURCE_AT = 16;
const PORTS_AT = 32;
const FAMILY_AT = 40;
const PREFIX_LENGTHS_AT = 42;
const PROTOCOL_AT = 44;
const DEVICE_AT = 48;
const PRIORITY_AT = 152;
const DIRECTION_AT = 160;
const ACTION_AT = 161;
const ADDRESS_BYTES: Readonly<Record<Family, number>> = { 4: 4, 6: 16 };

export interface IpsecPolicy {
  readonly direction: (typeof DIRECTIONS)[number];
  readonly source: Prefix;
  readonly destination: Prefix;
  /** Lower ones come first. */
  readonly priority: number;
  readonly isBlocking: boolean;
  /** It encrypts or encapsulates the packet. */
  readonly hasTemplates: boolean;
  /** It selects by protocol, port or device too, which makes it match less. */
  readonly hasOthers: boolean;
}

/** `ip xfrm policy` */
export function encodePolicyDump(): Buffer {
  return new MessageWriter(XFRM_MSG_GETPOLICY, NLM_F_DUMP).finish();
}

/** Decodes XFRM_MSG_NEWPOLICY; null for policies of sockets and of other families. Throws CodecError. */
export function decodePolicy(message: NetlinkMessage): IpsecPolicy | null {
  const attributes = message.attributes(POLICY_BYTES);
  const direction = DIRECTIONS[message.u8(DIRECTION_AT)];
  const family = familyOf(message.u16(FAMILY_AT));
  if (direction === undefined || family === undefined) return null;
  const prefix = (at: number, length: number): Prefix =>
    Prefix.of(Address.fromBytes(message.bytes(at, ADDRESS_BYTES[family])), length);
  let hasTemplates = false;
  while (attributes.next()) hasTemplates ||= attributes.type === XFRMA_TMPL;
  return {
    direction,
    destination: prefix(0, message.u8(PREFIX_LENGTHS_AT)),
    source: prefix(SOURCE_AT, message.u8(PREFIX_LENGTHS_AT + 1)),
    priority: message.u32(PRIORITY_AT),
    isBlocking: message.u8(ACTION_AT) === XFRM_POLICY_BLOCK,
    hasTemplates,
    hasOthers:
      message.u8(PROTOCOL_AT) !== 0 ||
      message.u32(PORTS_AT) !== 0 ||
      message.u32(PORTS_AT + 4) !== 0 ||
      message.u32(DEVICE_AT) !== 0,
  };
}
