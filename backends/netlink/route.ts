/** Routes (linux/rtnetlink.h): `ip route`. Messages only, no I/O. */

import { Address, type Family, Prefix } from "../../ipam/addresses/ip.ts";
import { CodecError } from "../../ipam/errors.ts";
import { CREATE, MessageWriter, type NetlinkMessage, NLM_F_DUMP } from "./message.ts";
import {
  AF_OF,
  familyOf,
  RT_SCOPE_HOST,
  RT_SCOPE_LINK,
  RT_SCOPE_NOWHERE,
  RT_SCOPE_UNIVERSE,
  RTM_DELROUTE,
  RTM_GETROUTE,
  RTM_NEWROUTE,
  RTNH_F_ONLINK,
  RTPROT_BOOT,
} from "./rtnetlink.ts";

/** linux/rtnetlink.h `enum rtattr_type_t` */
const RTA_DST = 1;
const RTA_SRC = 2;
const RTA_IIF = 3;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_METRICS = 8;
const RTA_MULTIPATH = 9;
const RTA_FLOW = 11;
const RTA_TABLE = 15;
const RTA_MARK = 16;
const RTA_VIA = 18;
const RTA_ENCAP = 22;
const RTA_IP_PROTO = 27;
const RTA_DPORT = 29;
const RTA_NH_ID = 30;
const RTAX_MTU = 2;
const RTAX_ADVMSS = 8;
const RTMSG_BYTES = 12;

/** What changes how packets take a route, beyond where it leads. */
const EXTRAS: ReadonlySet<number> = new Set([RTA_METRICS, RTA_MULTIPATH, RTA_FLOW, RTA_ENCAP]);

/** linux/rtnetlink.h: tables and types of routes. */
export const RT_TABLE_MAIN = 254;
export const RT_TABLE_LOCAL = 255;
export const RTN_UNICAST = 1;
export const RTN_LOCAL = 2;
const RTN_BROADCAST = 3;
const RTN_ANYCAST = 4;
const RTN_MULTICAST = 5;
export const RTN_BLACKHOLE = 6;
export const RTN_UNREACHABLE = 7;
export const RTN_PROHIBIT = 8;
const RTM_F_LOOKUP_TABLE = 0x1000;
const RTM_F_FIB_MATCH = 0x2000;

export interface RouteSpec {
  readonly destination: Prefix;
  /** Default RT_TABLE_MAIN. */
  readonly table?: number;
  /** RTPROT_*: who made it. Default RTPROT_BOOT. */
  readonly protocol?: number;
  /** RTN_*; default RTN_UNICAST. */
  readonly type?: number;
  /** RT_SCOPE_*; default what `ip route` would choose. */
  readonly scope?: number;
  /** 0, the default, is the kernel's own: 0 for IPv4, 1024 for IPv6. */
  readonly metric?: number;
  readonly outputIndex?: number;
  readonly gateway?: Address;
  /** The gateway is reachable on the device although no address there covers it. Default false. */
  readonly isOnlink?: boolean;
  /** A nexthop object instead of device and gateway. */
  readonly nexthopId?: number;
  /** Preferred source address. */
  readonly source?: Address;
  readonly mtuBytes?: number;
  /** The segment size that TCP announces, in bytes. */
  readonly advertisedMss?: number;
}

/** A route as the kernel shows it. */
export interface Route {
  readonly destination: Prefix;
  readonly table: number;
  /** Type of service; a route with another one than 0 is for packets that carry it. */
  readonly tos: number;
  readonly protocol: number;
  readonly type: number;
  readonly scope: number;
  readonly metric: number;
  readonly outputIndex: number | null;
  readonly gateway: Address | null;
  readonly isOnlink: boolean;
  readonly nexthopId: number | null;
  readonly source: Address | null;
  /** It has several paths, metrics such as an MTU, realms or an encapsulation, which are not decoded. */
  readonly hasExtras: boolean;
  /** RTM_F_* and RTNH_F_* */
  readonly flags: number;
}

/** What the kernel leaves out of a dump. */
export interface RouteFilter {
  readonly table?: number;
  readonly protocol?: number;
  readonly outputIndex?: number;
}

/**
 * `ip route add DESTINATION [via GATEWAY] dev DEVICE [onlink] [proto P] [metric M] [src S]`, or `… nhid ID`.
 * With REPLACE (`ip route replace`) the kernel overwrites any route with the same destination and metric.
 */
export function encodeNewRoute(spec: RouteSpec, flags = CREATE): Buffer {
  const { type = RTN_UNICAST, protocol = RTPROT_BOOT } = spec;
  return write(RTM_NEWROUTE, flags, { ...spec, type, protocol, scope: spec.scope ?? scopeOf(spec, type) });
}

/**
 * `ip route del DESTINATION …`: removes the first route that agrees in all that `spec` gives, so that giving a
 * protocol spares the routes of others. The kernel answers ESRCH when there is none.
 */
export function encodeDeleteRoute(spec: RouteSpec): Buffer {
  return write(RTM_DELROUTE, 0, { ...spec, scope: spec.scope ?? RT_SCOPE_NOWHERE });
}

/**
 * `ip -4|-6 route show [table T] [proto P] [dev DEVICE]`. The kernel leaves unfiltered whatever it
 * cannot filter: check what matters.
 */
export function encodeRouteDump(family: Family, filter: RouteFilter = {}): Buffer {
  const { protocol } = filter;
  const message = rtmsg(RTM_GETROUTE, NLM_F_DUMP, { family, length: 0, protocol });
  if (filter.table !== undefined) message.attrU32(RTA_TABLE, filter.table);
  if (filter.outputIndex !== undefined) message.attrU32(RTA_OIF, filter.outputIndex);
  return message.finish();
}

/** What narrows a route lookup. */
export interface LookupOptions {
  /** An address of this host, or with `inputIndex` any; rules select by it. */
  readonly source?: Address;
  /** The device by which the packet came, which makes it one that is forwarded or delivered here. */
  readonly inputIndex?: number;
  /** Rules select by it. Default 0. */
  readonly mark?: number;
  /** IPPROTO_*, and for TCP and UDP the destination port: rules select by them. */
  readonly protocol?: number;
  readonly destinationPort?: number;
  /** The device that packets must leave by, as for a tunnel that is bound to one. */
  readonly outputIndex?: number;
}

/**
 * `ip route get fibmatch ADDRESS [from SOURCE] [oif DEVICE]`: the answer is the matching route itself, with its
 * table. The kernel answers with the error of the route or rule instead: ENETUNREACH where none matches, EINVAL for
 * a blackhole, EHOSTUNREACH for unreachable, EACCES for prohibit; for a packet that came by a device also EXDEV where
 * the reverse path filter drops it, and EHOSTUNREACH where that device does not forward.
 */
export function encodeRouteLookup(address: Address, options: LookupOptions = {}): Buffer {
  // For IPv6 the table is always in the answer, and strict checking rejects the flag that asks for it.
  const flags = address.family === 4 ? RTM_F_LOOKUP_TABLE | RTM_F_FIB_MATCH : RTM_F_FIB_MATCH;
  return lookup(address, options, flags);
}

/** `ip route get ADDRESS [from SOURCE] [iif DEVICE] …`: how this packet goes, for decodePath. */
export function encodePathLookup(address: Address, options: LookupOptions = {}): Buffer {
  return lookup(address, options, 0);
}

function lookup(
  address: Address,
  { source, inputIndex, outputIndex, mark, protocol, destinationPort }: LookupOptions,
  flags: number,
): Buffer {
  const bits = address.toBytes().length * 8;
  const sourceLength = source === undefined ? 0 : bits;
  const message = rtmsg(RTM_GETROUTE, 0, { family: address.family, length: bits, sourceLength, flags });
  message.attrAddress(RTA_DST, address);
  if (source !== undefined) message.attrAddress(RTA_SRC, source);
  if (inputIndex !== undefined) message.attrU32(RTA_IIF, inputIndex);
  if (outputIndex !== undefined) message.attrU32(RTA_OIF, outputIndex);
  if (mark !== undefined && mark !== 0) message.attrU32(RTA_MARK, mark);
  if (protocol !== undefined) message.attrU8(RTA_IP_PROTO, protocol);
  if (destinationPort !== undefined) message.attrU16be(RTA_DPORT, destinationPort);
  return message.finish();
}

/** How a packet leaves, out of all that a route may offer. */
export interface Path {
  /** RTN_* */
  readonly type: number;
  readonly outputIndex: number | null;
  readonly gateway: Address | null;
  /** The kernel's source address; null for a packet that has one. */
  readonly source: Address | null;
  /** Of the route, or learned for the destination; null where the device's counts. */
  readonly mtuBytes: number | null;
}

/** Decodes the answer to encodePathLookup. Throws CodecError. */
export function decodePath(message: NetlinkMessage): Path | null {
  const route = decodeRoute(message);
  if (route === null) return null;
  const { type, outputIndex, gateway, source } = route;
  let mtuBytes: number | null = null;
  const attributes = message.attributes(RTMSG_BYTES);
  while (attributes.next()) {
    if (attributes.type !== RTA_METRICS) continue;
    const metrics = attributes.nested();
    while (metrics.next()) if (metrics.type === RTAX_MTU) mtuBytes = metrics.u32() || null;
  }
  return { type, outputIndex, gateway, source, mtuBytes };
}

/** `ip route get ADDRESS`: the answer's gateway, outputIndex and source say how packets to it leave. */
export function encodeGetRoute(address: Address): Buffer {
  const bits = address.toBytes().length * 8;
  return rtmsg(RTM_GETROUTE, 0, { family: address.family, length: bits })
    .attrAddress(RTA_DST, address)
    .finish();
}

/** Decodes RTM_NEWROUTE and RTM_DELROUTE; null for families other than IPv4 and IPv6. Throws CodecError. */
export function decodeRoute(message: NetlinkMessage): Route | null {
  const attributes = message.attributes(RTMSG_BYTES);
  const family = familyOf(message.u8(0));
  if (family === undefined) return null;
  const length = message.u8(1);
  let destination: Address | null = null;
  let table = message.u8(4);
  let metric = 0;
  let outputIndex: number | null = null;
  let gateway: Address | null = null;
  let nexthopId: number | null = null;
  let source: Address | null = null;
  let hasExtras = false;
  while (attributes.next()) {
    if (attributes.type === RTA_DST) destination = attributes.address();
    else if (attributes.type === RTA_TABLE) table = attributes.u32();
    else if (attributes.type === RTA_PRIORITY) metric = attributes.u32();
    else if (attributes.type === RTA_OIF) outputIndex = attributes.u32();
    else if (attributes.type === RTA_GATEWAY) gateway = attributes.address();
    else if (attributes.type === RTA_VIA) gateway = attributes.address(2);
    else if (attributes.type === RTA_NH_ID) nexthopId = attributes.u32();
    else if (attributes.type === RTA_PREFSRC) source = attributes.address();
    else if (EXTRAS.has(attributes.type)) hasExtras = true;
  }
  const flags = message.u32(8);
  return {
    destination: prefixOf(destination ?? Address.of(family, 0n), length),
    table,
    tos: message.u8(3),
    protocol: message.u8(5),
    type: message.u8(7),
    scope: message.u8(6),
    metric,
    outputIndex,
    gateway,
    isOnlink: (flags & RTNH_F_ONLINK) !== 0,
    nexthopId,
    source,
    hasExtras,
    flags,
  };
}

function write(messageType: number, messageFlags: number, spec: RouteSpec): Buffer {
  const { destination, table = RT_TABLE_MAIN, type, protocol, scope } = spec;
  const { family, length } = destination;
  const tableByte = table < 256 ? table : 0;
  const flags = spec.isOnlink ? RTNH_F_ONLINK : 0;
  const header = { family, length, table: tableByte, protocol, scope, type, flags };
  const message = rtmsg(messageType, messageFlags, header);
  if (destination.length > 0) message.attrAddress(RTA_DST, destination.base);
  if (spec.nexthopId !== undefined) message.attrU32(RTA_NH_ID, spec.nexthopId);
  if (spec.gateway !== undefined) message.attrAddress(RTA_GATEWAY, spec.gateway);
  if (spec.outputIndex !== undefined) message.attrU32(RTA_OIF, spec.outputIndex);
  if (spec.source !== undefined) message.attrAddress(RTA_PREFSRC, spec.source);
  if (spec.metric !== undefined && spec.metric !== 0) message.attrU32(RTA_PRIORITY, spec.metric);
  if (tableByte !== table) message.attrU32(RTA_TABLE, table);
  writeMetrics(message, spec);
  return message.finish();
}

function writeMetrics(message: MessageWriter, { mtuBytes, advertisedMss }: RouteSpec): void {
  if (mtuBytes === undefined && advertisedMss === undefined) return;
  message.nested(RTA_METRICS, () => {
    if (mtuBytes !== undefined) message.attrU32(RTAX_MTU, mtuBytes);
    if (advertisedMss !== undefined) message.attrU32(RTAX_ADVMSS, advertisedMss);
  });
}

/** iproute2's rule: what needs no gateway is valid on the link, what is ours on the host, the rest everywhere. */
function scopeOf(spec: RouteSpec, type: number): number {
  if (spec.destination.family === 6) return RT_SCOPE_UNIVERSE;
  if (type === RTN_LOCAL) return RT_SCOPE_HOST;
  if (type === RTN_BROADCAST || type === RTN_MULTICAST || type === RTN_ANYCAST) return RT_SCOPE_LINK;
  const isDirect = type === RTN_UNICAST && spec.gateway === undefined && spec.nexthopId === undefined;
  return isDirect ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
}

function prefixOf(address: Address, length: number): Prefix {
  try {
    return Prefix.of(address, length);
  } catch (error) {
    throw new CodecError(`netlink: a route of length ${length}`, { cause: error, details: { offset: 1 } });
  }
}

/** `struct rtmsg` (linux/rtnetlink.h); what is absent is 0. */
interface RouteHeader {
  readonly family: Family;
  /** Bits of the destination. */
  readonly length: number;
  /** Bits of the source. */
  readonly sourceLength?: number;
  readonly table?: number | undefined;
  readonly protocol?: number | undefined;
  readonly scope?: number | undefined;
  readonly type?: number | undefined;
  /** RTNH_F_* and RTM_F_* */
  readonly flags?: number;
}

function rtmsg(messageType: number, messageFlags: number, header: RouteHeader): MessageWriter {
  const {
    family,
    length,
    sourceLength = 0,
    table = 0,
    protocol = 0,
    scope = 0,
    type = 0,
    flags = 0,
  } = header;
  const tos = 0;
  return new MessageWriter(messageType, messageFlags)
    .u8(AF_OF[family])
    .u8(length)
    .u8(sourceLength)
    .u8(tos)
    .u8(table)
    .u8(protocol)
    .u8(scope)
    .u8(type)
    .u32(flags);
}
