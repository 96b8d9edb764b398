/**
 * Tracked connections (linux/netfilter/nfnetlink_conntrack.h): `conntrack -L`, `conntrack -D`. Messages only, no I/O.
 *
 * A connection has two tuples: the addresses and ports of its first packet, and those of its answers. They mirror each
 * other unless NAT is in between.
 */

import type { Address, Family } from "../../ipam/addresses/ip.ts";
import { type AttributeReader, NLA_F_NESTED } from "./attribute.ts";
import { MessageWriter, type NetlinkMessage, NLM_F_DUMP } from "./message.ts";
import { AF_OF } from "./rtnetlink.ts";

/** linux/netfilter/nfnetlink.h */
const NFNL_SUBSYS_CTNETLINK = 1;
const NFGENMSG_BYTES = 4;

/** enum cntl_msg_types */
const IPCTNL_MSG_CT_GET = 1;
const IPCTNL_MSG_CT_DELETE = 2;

/** enum ctattr_type */
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_ID = 12;
const CTA_ZONE = 18;
const KEY = [CTA_TUPLE_ORIG, CTA_ID, CTA_ZONE];

/** enum ctattr_tuple, ctattr_ip, ctattr_l4proto */
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_IP_V4_SRC = 1;
const CTA_IP_V4_DST = 2;
const CTA_IP_V6_SRC = 3;
const CTA_IP_V6_DST = 4;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_SRC_PORT = 2;
const CTA_PROTO_DST_PORT = 3;

/** linux/in.h */
export const IPPROTO_UDP = 17;

export interface Connection {
  readonly family: Family;
  /** IPPROTO_* */
  readonly protocol: number;
  /** Where the first packet went; 0 for protocols without ports. */
  readonly destination: Address;
  readonly destinationPort: number;
  /** Where answers come from: another place than the destination if that was translated. */
  readonly answerer: Address;
  readonly answererPort: number;
  /** By which the kernel finds the connection. */
  readonly key: readonly Attribute[];
}

interface Attribute {
  readonly type: number;
  readonly payload: Uint8Array;
}

/** `conntrack -L -f FAMILY` */
export function encodeConnectionDump(family: Family): Buffer {
  return request(IPCTNL_MSG_CT_GET, NLM_F_DUMP, family).finish();
}

/** `conntrack -D` for one connection; the kernel answers ENOENT when it is gone. */
export function encodeDeleteConnection({ family, key }: Connection): Buffer {
  const message = request(IPCTNL_MSG_CT_DELETE, 0, family);
  for (const { type, payload } of key)
    message.attrBytes(type === CTA_TUPLE_ORIG ? type | NLA_F_NESTED : type, payload);
  return message.finish();
}

/** Decodes an entry of the dump of `family`; null for one without addresses. Throws CodecError. */
export function decodeConnection(message: NetlinkMessage, family: Family): Connection | null {
  const attributes = message.attributes(NFGENMSG_BYTES);
  let first: Tuple | null = null;
  let answer: Tuple | null = null;
  const key: Attribute[] = [];
  while (attributes.next()) {
    const { type } = attributes;
    if (type === CTA_TUPLE_ORIG) first = decodeTuple(attributes.nested());
    else if (type === CTA_TUPLE_REPLY) answer = decodeTuple(attributes.nested());
    if (KEY.includes(type)) key.push({ type, payload: Buffer.from(attributes.bytes()) });
  }
  if (!first?.destination || !answer?.source) return null;
  const { protocol, destination, destinationPort } = first;
  const { source: answerer, sourcePort: answererPort } = answer;
  return { family, protocol, destination, destinationPort, answerer, answererPort, key };
}

interface Tuple {
  source: Address | null;
  destination: Address | null;
  protocol: number;
  sourcePort: number;
  destinationPort: number;
}

function decodeTuple(attributes: AttributeReader): Tuple {
  const tuple: Tuple = { source: null, destination: null, protocol: 0, sourcePort: 0, destinationPort: 0 };
  while (attributes.next()) {
    if (attributes.type === CTA_TUPLE_IP) decodeAddresses(attributes.nested(), tuple);
    else if (attributes.type === CTA_TUPLE_PROTO) decodeProtocol(attributes.nested(), tuple);
  }
  return tuple;
}

function decodeAddresses(attributes: AttributeReader, tuple: Tuple): void {
  while (attributes.next()) {
    const { type } = attributes;
    if (type === CTA_IP_V4_SRC || type === CTA_IP_V6_SRC) tuple.source = attributes.address();
    else if (type === CTA_IP_V4_DST || type === CTA_IP_V6_DST) tuple.destination = attributes.address();
  }
}

function decodeProtocol(attributes: AttributeReader, tuple: Tuple): void {
  while (attributes.next()) {
    if (attributes.type === CTA_PROTO_NUM) tuple.protocol = attributes.u8();
    else if (attributes.type === CTA_PROTO_SRC_PORT) tuple.sourcePort = attributes.u16be();
    else if (attributes.type === CTA_PROTO_DST_PORT) tuple.destinationPort = attributes.u16be();
  }
}

/** `struct nfgenmsg`: family, version, resource id. */
function request(message: number, flags: number, family: Family): MessageWriter {
  const type = (NFNL_SUBSYS_CTNETLINK << 8) | message;
  return new MessageWriter(type, flags).u8(AF_OF[family]).u8(0).u16(0);
}
