/**
 * ICMP and ICMPv6 echo messages (RFC 792, RFC 4443 section 4): encoding requests, decoding replies. Pure.
 */

import type { Family } from "../../ipam/addresses/ip.ts";

export interface Echo {
  /** Says whose reply it is: 0 to 65535. */
  readonly id: number;
  /** 0 to 65535. */
  readonly sequence: number;
  readonly payload: Uint8Array;
}

/** linux/icmp.h, linux/icmpv6.h */
const REQUEST_TYPE = { 4: 8, 6: 128 } as const;
const REPLY_TYPE = { 4: 0, 6: 129 } as const;

/** Type, code, checksum, identifier, sequence number. */
export const ECHO_HEADER_BYTES = 8;

/** An echo request. The checksum of ICMPv6 covers the addresses and stays 0: the kernel fills it in. */
export function encodeEchoRequest(family: Family, { id, sequence, payload }: Echo): Buffer {
  const message = Buffer.alloc(ECHO_HEADER_BYTES + payload.length);
  message.writeUInt8(REQUEST_TYPE[family], 0);
  message.writeUInt16BE(id, 4);
  message.writeUInt16BE(sequence, 6);
  message.set(payload, ECHO_HEADER_BYTES);
  if (family === 4) message.writeUInt16BE(checksum(message), 2);
  return message;
}

/** An echo reply; null for any other message and for one that was cut. The payload is a view of `message`. */
export function decodeEchoReply(family: Family, message: Buffer): Echo | null {
  if (message.length < ECHO_HEADER_BYTES || message.readUInt8(0) !== REPLY_TYPE[family]) return null;
  return {
    id: message.readUInt16BE(4),
    sequence: message.readUInt16BE(6),
    payload: message.subarray(ECHO_HEADER_BYTES),
  };
}

/** The packet without its IPv4 header (RFC 791, IHL), which a raw IPv4 socket leaves in front (raw(7)). */
export function withoutIpv4Header(packet: Buffer): Buffer {
  return packet.subarray(packet.length === 0 ? 0 : (packet.readUInt8(0) & 0x0f) * 4);
}

/** The internet checksum (RFC 1071): the complement of the sum of all 16-bit words in one's complement. */
export function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let offset = 0; offset + 1 < bytes.length; offset += 2) sum += bytes.readUInt16BE(offset);
  if (bytes.length % 2 === 1) sum += bytes.readUInt8(bytes.length - 1) << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
