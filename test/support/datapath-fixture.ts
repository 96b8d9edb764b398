/** Packets for unit tests of the data path, written without its code. */

import { Arena } from "../../backends/datapath/arena.ts";
import { compileSum, type Sum } from "../../backends/datapath/checksum.ts";
import { checksum } from "./raw-peer.ts";

export interface Workbench {
  readonly arena: Arena;
  readonly sum: Sum;
  /** Where packets can be put. */
  readonly at: number;
}

export function createWorkbench(): Workbench {
  const arena = new Arena(1 << 20);
  return { arena, sum: compileSum(arena.memory), at: arena.reserve(200_000) };
}

export interface SegmentFields {
  readonly source?: string;
  readonly destination?: string;
  readonly port?: number;
  readonly id?: number;
  readonly ttl?: number;
  readonly tos?: number;
  readonly fragment?: number;
  readonly sequence?: number;
  readonly flags?: number;
  readonly window?: number;
  readonly options?: readonly number[];
  readonly payload: Uint8Array;
}

const ACK = 0x10;

/** A TCP segment in an IPv4 packet, with right checksums. */
export function tcpSegment(fields: SegmentFields): Buffer {
  const { source = "10.2.2.2", destination = "10.2.1.2", payload, options = [] } = fields;
  const tcp = Buffer.alloc(20 + options.length + payload.length);
  tcp.writeUInt16BE(fields.port ?? 40_000, 0);
  tcp.writeUInt16BE(80, 2);
  tcp.writeUInt32BE(fields.sequence ?? 1, 4);
  tcp.writeUInt32BE(77, 8);
  tcp.writeUInt8(((20 + options.length) / 4) << 4, 12);
  tcp.writeUInt8(fields.flags ?? ACK, 13);
  tcp.writeUInt16BE(fields.window ?? 500, 14);
  tcp.set(options, 20);
  tcp.set(payload, 20 + options.length);
  const addresses = [...source.split("."), ...destination.split(".")].map(Number);
  const pseudo = Buffer.from([...addresses, 0, 6, tcp.length >> 8, tcp.length & 0xff]);
  tcp.writeUInt16BE(checksum(Buffer.concat([pseudo, tcp])), 16);
  const ip = Buffer.alloc(20);
  ip.set([0x45, fields.tos ?? 0]);
  ip.writeUInt16BE(20 + tcp.length, 2);
  ip.writeUInt16BE(fields.id ?? 1, 4);
  ip.writeUInt16BE(fields.fragment ?? 0x4000, 6);
  ip.set([fields.ttl ?? 63, 6], 8);
  ip.set(addresses, 12);
  ip.writeUInt16BE(checksum(ip), 10);
  return Buffer.concat([ip, tcp]);
}

/** What a receiver computes over a TCP segment or UDP datagram of an IPv4 packet: 0 when it is right. */
export function transportChecksum(packet: Buffer): number {
  const length = packet.length - 20;
  const pseudo = Buffer.from([
    ...packet.subarray(12, 20),
    0,
    packet.readUInt8(9),
    length >> 8,
    length & 0xff,
  ]);
  return checksum(Buffer.concat([pseudo, packet.subarray(20)]));
}

/** Bytes that differ from place to place. */
export function pattern(length: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 31 + seed * 7) & 0xff);
}
