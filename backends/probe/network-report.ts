/**
 * What the network reports of a packet that it could not deliver: ICMP destination unreachable and time exceeded
 * (RFC 792, RFC 4443 section 3), as far as they are about an echo request or a packet of a tunnel. Pure.
 */

import { Address, type Family } from "../../ipam/addresses/ip.ts";

export interface NetworkReport {
  /** Identifier and sequence of the request that it is about, and where that was sent. */
  readonly id: number;
  readonly sequence: number;
  readonly target: Address;
  readonly text: string;
}

/** What the network reports of another packet than an echo request. */
export interface TunnelReport {
  /** Where the packet was sent. */
  readonly target: Address;
  /** Destination port of UDP; null for IP in IP. */
  readonly port: number | null;
  readonly text: string;
}

/** linux/icmp.h, linux/icmpv6.h */
const UNREACHABLE = { 4: 3, 6: 1 } as const;
const TOO_BIG_6 = 2;
const TIME_EXCEEDED = { 4: 11, 6: 3 } as const;
const FRAGMENTATION_NEEDED_4 = 4;

/** Types of the messages that decodeNetworkReport() reads. */
export const REPORT_TYPES = {
  4: [UNREACHABLE[4], TIME_EXCEEDED[4]],
  6: [UNREACHABLE[6], TOO_BIG_6, TIME_EXCEEDED[6]],
} as const;

const CODE_TEXTS = {
  4: [
    "network unreachable",
    "host unreachable",
    "protocol unreachable",
    "port unreachable",
    "packet too big",
    "source route failed",
    "network unknown",
    "host unknown",
    "source host isolated",
    "network prohibited by an administrator",
    "host prohibited by an administrator",
    "network unreachable for this type of service",
    "host unreachable for this type of service",
    "prohibited by an administrator",
  ],
  6: [
    "no route",
    "prohibited by an administrator",
    "beyond the scope of the source address",
    "host unreachable",
    "port unreachable",
    "source address failed a policy",
    "route rejected",
  ],
} as const;

/** linux/in.h: IPPROTO_ICMP, IPPROTO_ICMPV6. */
const PROTOCOL = { 4: 1, 6: 58 } as const;
const IPPROTO_IPIP = 4;
const IPPROTO_UDP = 17;
const REQUEST_TYPE = { 4: 8, 6: 128 } as const;
/** Of the error message itself. */
const OWN_HEADER_BYTES = 8;
const IPV6_HEADER_BYTES = 40;

/** null for a message of another type, one about another packet, and one that was cut. */
export function decodeNetworkReport(family: Family, message: Buffer): NetworkReport | null {
  const report = readReport(family, message);
  if (report === null || report.protocol !== PROTOCOL[family]) return null;
  const { original, target, text } = report;
  if (original.length < OWN_HEADER_BYTES || original.readUInt8(0) !== REQUEST_TYPE[family]) return null;
  return { id: original.readUInt16BE(4), sequence: original.readUInt16BE(6), target, text };
}

/** The same for a report about a datagram of UDP, or about IP in IP. */
export function decodeTunnelReport(family: Family, message: Buffer): TunnelReport | null {
  const report = readReport(family, message);
  if (report === null) return null;
  const { original, target, text, protocol } = report;
  if (protocol === IPPROTO_IPIP) return { target, port: null, text };
  if (protocol !== IPPROTO_UDP || original.length < 4) return null;
  return { target, port: original.readUInt16BE(2), text };
}

interface Report {
  readonly protocol: number;
  readonly target: Address;
  /** The packet that it is about, without its IP header. */
  readonly original: Buffer;
  readonly text: string;
}

function readReport(family: Family, message: Buffer): Report | null {
  if (message.length < OWN_HEADER_BYTES) return null;
  const text = textOf(family, message);
  const original = text === null ? null : readOriginal(family, message.subarray(OWN_HEADER_BYTES));
  return text === null || original === null ? null : { ...original, text };
}

function textOf(family: Family, message: Buffer): string | null {
  const type = message.readUInt8(0);
  const code = message.readUInt8(1);
  if (family === 6 && type === TOO_BIG_6) return `packet too big, ${message.readUInt32BE(4)} bytes pass`;
  if (type === TIME_EXCEEDED[family]) return "time to live exceeded";
  if (type !== UNREACHABLE[family]) return null;
  if (family === 4 && code === FRAGMENTATION_NEEDED_4) {
    // RFC 1191; older routers leave it 0.
    const bytes = message.readUInt16BE(6);
    return bytes === 0 ? "packet too big" : `packet too big, ${bytes} bytes pass`;
  }
  return CODE_TEXTS[family][code] ?? `unreachable (code ${code})`;
}

/** The beginning of the packet that the message is about; null where it was cut. */
function readOriginal(family: Family, packet: Buffer): Omit<Report, "text"> | null {
  const headerBytes = family === 4 ? ((packet[0] ?? 0) % 16) * 4 : IPV6_HEADER_BYTES;
  if (packet.length < headerBytes || headerBytes < 20) return null;
  const protocol = packet.readUInt8(family === 4 ? 9 : 6);
  const target = Address.fromBytes(family === 4 ? packet.subarray(16, 20) : packet.subarray(24, 40));
  return { protocol, target, original: packet.subarray(headerBytes) };
}
