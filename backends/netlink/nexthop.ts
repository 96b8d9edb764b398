/** Nexthop objects (linux/nexthop.h, Linux 5.3): `ip nexthop`. Messages only, no I/O. */

import type { Address, Family } from "../../ipam/addresses/ip.ts";
import { CREATE, MessageWriter, type NetlinkMessage, NLM_F_DUMP } from "./message.ts";
import {
  AF_OF,
  AF_UNSPEC,
  familyOf,
  RTM_DELNEXTHOP,
  RTM_GETNEXTHOP,
  RTM_NEWNEXTHOP,
  RTNH_F_ONLINK,
} from "./rtnetlink.ts";

/** linux/nexthop.h */
const NHA_ID = 1;
const NHA_GROUP = 2;
const NHA_BLACKHOLE = 4;
const NHA_OIF = 5;
const NHA_GATEWAY = 6;
const NHA_FDB = 11;
const NHMSG_BYTES = 8;

export interface NexthopSpec {
  /** 1 .. 2^32 - 1; the caller keeps to a range of its own. */
  readonly id: number;
  readonly outputIndex: number;
  readonly gateway: Address;
  /** The gateway is reachable on the device although no address there covers it. Default false. */
  readonly isOnlink?: boolean;
  /** RTPROT_*: who made it. */
  readonly protocol: number;
}

/** A nexthop as the kernel shows it. */
export interface Nexthop {
  readonly id: number;
  /** null for groups and blackholes, which belong to no family. */
  readonly family: Family | null;
  readonly outputIndex: number | null;
  readonly gateway: Address | null;
  readonly isOnlink: boolean;
  readonly protocol: number;
  /** RTNH_F_* */
  readonly flags: number;
  /** What sort it is; only `single` ones have a device. */
  readonly sort: "single" | "group" | "blackhole" | "fdb";
}

/** `ip nexthop add id ID via GATEWAY dev DEVICE [onlink] proto PROTOCOL` (with REPLACE: `replace`). */
export function encodeNewNexthop(spec: NexthopSpec, flags = CREATE): Buffer {
  return new MessageWriter(RTM_NEWNEXTHOP, flags)
    .u8(AF_OF[spec.gateway.family])
    .u8(0)
    .u8(spec.protocol)
    .u8(0)
    .u32(spec.isOnlink ? RTNH_F_ONLINK : 0)
    .attrU32(NHA_ID, spec.id)
    .attrAddress(NHA_GATEWAY, spec.gateway)
    .attrU32(NHA_OIF, spec.outputIndex)
    .finish();
}

/** `ip nexthop del id ID`: the kernel removes the routes that use it too, IPv4 ones without a notification. */
export function encodeDeleteNexthop(id: number): Buffer {
  return header(RTM_DELNEXTHOP, 0).attrU32(NHA_ID, id).finish();
}

/** `ip nexthop show [dev DEVICE]`. EOPNOTSUPP from a kernel older than 5.3. */
export function encodeNexthopDump(outputIndex = 0): Buffer {
  const message = header(RTM_GETNEXTHOP, NLM_F_DUMP);
  if (outputIndex !== 0) message.attrU32(NHA_OIF, outputIndex);
  return message.finish();
}

/** Decodes RTM_NEWNEXTHOP and RTM_DELNEXTHOP. Throws CodecError. */
export function decodeNexthop(message: NetlinkMessage): Nexthop {
  let id = 0;
  let outputIndex: number | null = null;
  let gateway: Address | null = null;
  let sort: Nexthop["sort"] = "single";
  const attributes = message.attributes(NHMSG_BYTES);
  while (attributes.next()) {
    if (attributes.type === NHA_ID) id = attributes.u32();
    else if (attributes.type === NHA_OIF) outputIndex = attributes.u32();
    else if (attributes.type === NHA_GATEWAY) gateway = attributes.address();
    else if (attributes.type === NHA_GROUP) sort = "group";
    else if (attributes.type === NHA_BLACKHOLE) sort = "blackhole";
    else if (attributes.type === NHA_FDB && sort === "single") sort = "fdb";
  }
  const flags = message.u32(4);
  return {
    id,
    family: familyOf(message.u8(0)) ?? null,
    outputIndex,
    gateway,
    isOnlink: (flags & RTNH_F_ONLINK) !== 0,
    protocol: message.u8(2),
    flags,
    sort,
  };
}

function header(type: number, flags: number): MessageWriter {
  return new MessageWriter(type, flags).u8(AF_UNSPEC).u8(0).u8(0).u8(0).u32(0);
}
