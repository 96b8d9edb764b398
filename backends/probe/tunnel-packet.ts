/**
 * Packets of a tunnel as they are on the wire: who sent them, and what they carry, as far as that is readable. Pure.
 *
 * Reads the headers of VXLAN (RFC 7348 section 5), of IP in IP (RFC 2003) and of IP in UDP, as flannel's udp sends it, and the
 * type of a WireGuard message.
 */

import { Address, type Family } from "../../ipam/addresses/ip.ts";
import { type Mac, macFromBytes } from "../../ipam/addresses/mac.ts";

/** `opaque`: encrypted. */
export type TunnelFormat = "vxlan" | "ip" | "opaque";

/** How packets of a tunnel are recognized, and what is inside. */
export interface TunnelKind {
  /** Destination port of UDP; null for IP in IP. */
  readonly port: number | null;
  readonly format: TunnelFormat;
}

export interface TunnelPacket {
  readonly source: Address;
  readonly destination: Address;
  /** Destination port of UDP; null for IP in IP. */
  readonly port: number | null;
  /** Null for tunnels without. */
  readonly vni: number | null;
  /** Of the Ethernet frame inside; null for tunnels that carry none. */
  readonly frame: FrameAddresses | null;
  /** Null where it cannot be read. */
  readonly inner: InnerPacket | null;
  /** Of an encrypted tunnel; null for other tunnels and for types that do not exist. */
  readonly message: WireguardMessage | null;
}

export interface FrameAddresses {
  readonly source: Mac;
  readonly destination: Mac;
}

export interface InnerPacket {
  readonly source: Address;
  readonly destination: Address;
  readonly isEchoReply: boolean;
  /** A TCP segment that acknowledges something; null for any other packet. */
  readonly segment: Segment | null;
}

export interface Segment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledged: number;
  readonly isReset: boolean;
}

export type WireguardMessage = "initiation" | "response" | "cookie" | "data";

/** linux/in.h */
const IPPROTO_ICMP = { 4: 1, 6: 58 } as const;
const IPPROTO_TCP = 6;
const IPPROTO_UDP = 17;
export const IPPROTO_IPIP = 4;
/** RFC 792, RFC 4443 */
const ECHO_REPLY = { 4: 0, 6: 129 } as const;
/** RFC 9293: flags of a segment that answers another. */
const TCP_ACK = 0x10;
const TCP_RST = 0x04;
const TCP_BYTES = 20;
/** WireGuard, section 5.4: the first byte of a packet, which is not encrypted. */
const MESSAGES: readonly (WireguardMessage | undefined)[] = [
  undefined,
  "initiation",
  "response",
  "cookie",
  "data",
];
const UDP_BYTES = 8;
/** RFC 7348: the flag I alone, which every packet has; the VNI follows in the next word. */
const VXLAN_FLAGS = 0x08;
const VXLAN_BYTES = 8;
/** Of an Ethernet frame inside, which ends with the type of its payload. */
const ETHERNET_BYTES = 14;
const ETHERTYPES: ReadonlySet<number> = new Set([0x0800, 0x86dd]);
const NO_FRAME = { vni: null, frame: null } as const;

interface IpPacket {
  readonly family: Family;
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  readonly payload: Buffer;
}

/**
 * Decodes a packet that begins with its IP header. Null for one that is of no tunnel of this kind. VXLAN is recognized
 * on every port: a peer may use another one.
 */
export function decodeTunnelPacket(packet: Buffer, kind: TunnelKind): TunnelPacket | null {
  const outer = decodeIp(packet);
  if (outer === null) return null;
  const { source, destination, protocol, payload } = outer;
  if (kind.port === null) {
    if (protocol !== IPPROTO_IPIP) return null;
    return { source, destination, port: null, ...NO_FRAME, inner: innerOf(payload), message: null };
  }
  if (protocol !== IPPROTO_UDP || payload.length < UDP_BYTES) return null;
  const port = payload.readUInt16BE(2);
  const content = payload.subarray(UDP_BYTES);
  if (kind.format === "vxlan") return decodeVxlan({ source, destination, port }, content);
  if (port !== kind.port) return null;
  const isOpaque = kind.format === "opaque";
  const message = isOpaque ? (MESSAGES[content[0] ?? 0] ?? null) : null;
  return { source, destination, port, ...NO_FRAME, inner: isOpaque ? null : innerOf(content), message };
}

function decodeVxlan(
  outer: Pick<TunnelPacket, "source" | "destination" | "port">,
  content: Buffer,
): TunnelPacket | null {
  if (content.length < VXLAN_BYTES || content.readUInt8(0) !== VXLAN_FLAGS) return null;
  const vni = content.readUInt32BE(4) >>> 8;
  const frame = content.subarray(VXLAN_BYTES);
  if (frame.length < ETHERNET_BYTES) return { ...outer, vni, frame: null, inner: null, message: null };
  const addresses = {
    destination: macFromBytes(frame.subarray(0, 6)),
    source: macFromBytes(frame.subarray(6, 12)),
  };
  const inner = ETHERTYPES.has(frame.readUInt16BE(12)) ? innerOf(frame.subarray(ETHERNET_BYTES)) : null;
  return { ...outer, vni, frame: addresses, inner, message: null };
}

function innerOf(packet: Buffer): InnerPacket | null {
  const ip = decodeIp(packet);
  if (ip === null) return null;
  const { source, destination, family, protocol, payload } = ip;
  const isEchoReply = protocol === IPPROTO_ICMP[family] && payload[0] === ECHO_REPLY[family];
  return { source, destination, isEchoReply, segment: segmentOf(ip) };
}

function segmentOf({ protocol, payload }: IpPacket): Segment | null {
  if (protocol !== IPPROTO_TCP || payload.length < TCP_BYTES) return null;
  const flags = payload.readUInt8(13);
  if ((flags & TCP_ACK) === 0) return null;
  return {
    sourcePort: payload.readUInt16BE(0),
    destinationPort: payload.readUInt16BE(2),
    sequence: payload.readUInt32BE(4),
    acknowledged: payload.readUInt32BE(8),
    isReset: (flags & TCP_RST) !== 0,
  };
}

/** Extension headers of IPv6 are not followed: neither tunnels nor probes have any. */
function decodeIp(packet: Buffer): IpPacket | null {
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4 && packet.length >= 20) {
    return {
      family: 4,
      source: Address.fromBytes(packet.subarray(12, 16)),
      destination: Address.fromBytes(packet.subarray(16, 20)),
      protocol: packet.readUInt8(9),
      payload: packet.subarray((packet.readUInt8(0) & 0x0f) * 4),
    };
  }
  if (version !== 6 || packet.length < 40) return null;
  return {
    family: 6,
    source: Address.fromBytes(packet.subarray(8, 24)),
    destination: Address.fromBytes(packet.subarray(24, 40)),
    protocol: packet.readUInt8(6),
    payload: packet.subarray(40),
  };
}
