import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Counters, type Counts } from "../../../../backends/datapath/counters.ts";
import type { IcmpErrors } from "../../../../backends/datapath/icmp.ts";
import { Outbound } from "../../../../backends/datapath/outbound.ts";
import { PeerIndex } from "../../../../backends/datapath/peer-index.ts";
import type { SendBatch } from "../../../../backends/datapath/send-batch.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";
import {
  createWorkbench,
  pattern,
  tcpSegment,
  transportChecksum,
} from "../../../support/datapath-fixture.ts";
import { checksum } from "../../../support/raw-peer.ts";

interface Result {
  readonly sent: readonly Buffer[];
  readonly ecn: readonly number[];
  readonly errors: readonly string[];
  readonly counts: Counts;
}

/** Has a packet read from the device, which a file replaces, and answers what was sent. */
function pump(vnet: Buffer, packet: Buffer, { isFast = true } = {}): Result {
  const { arena, sum } = createWorkbench();
  const peers = new PeerIndex(arena);
  const subnets = { 4: Prefix.parse("10.2.1.0/24") };
  peers.set("one", { subnets, address: Address.parse("192.0.2.1"), port: 8285, isFast });
  const sent: Buffer[] = [];
  const ecn: number[] = [];
  const errors: string[] = [];
  const read = (at: number, length: number) => Buffer.from(arena.bytes.subarray(at, at + length));
  const batch = {
    addPacket: (_: unknown, mark: number, at: number, length: number) => {
      ecn.push(mark);
      sent.push(read(at, length));
    },
    addSegment: (
      _: unknown,
      mark: number,
      at: number,
      length: number,
      dataAt: number,
      dataLength: number,
    ) => {
      ecn.push(mark);
      sent.push(Buffer.concat([read(at, length), read(dataAt, dataLength)]));
    },
    flush: () => undefined,
  } as unknown as SendBatch;
  const icmp = {
    unreachable: () => errors.push("unreachable"),
    timeExceeded: () => errors.push("time exceeded"),
  } as unknown as IcmpErrors;
  const counters = new Counters();
  const folder = mkdtempSync(join(tmpdir(), "tulle-outbound-"));
  writeFileSync(join(folder, "tun"), Buffer.concat([vnet, packet]));
  const tun = openSync(join(folder, "tun"), "r");
  try {
    new Outbound({ arena, sum, tun, peers, batches: { 4: batch }, icmp, counters }).pump();
  } finally {
    closeSync(tun);
    rmSync(folder, { recursive: true });
  }
  return { sent, ecn, errors, counts: counters.read() };
}

/** struct virtio_net_hdr. */
function vnetHeader({ flags = 0, gsoType = 0, gsoSize = 0, start = 0, offset = 0 } = {}): Buffer {
  const bytes = Buffer.from([flags, gsoType, 0, 0, 0, 0, 0, 0, 0, 0]);
  bytes.writeUInt16LE(gsoSize, 4);
  bytes.writeUInt16LE(start, 6);
  bytes.writeUInt16LE(offset, 8);
  return bytes;
}

const [FIN, PSH, ACK, CWR] = [0x01, 0x08, 0x10, 0x80];

describe("packets to peers", () => {
  it("lose one hop and keep right checksums", () => {
    const { sent } = pump(vnetHeader(), tcpSegment({ payload: pattern(50) }));
    const [packet] = sent as [Buffer];
    expect(packet.readUInt8(8)).toBe(62);
    expect(checksum(packet.subarray(0, 20))).toBe(0);
    expect(transportChecksum(packet)).toBe(0);
  });

  it("get the checksum that the kernel left to the device", () => {
    const packet = tcpSegment({ payload: pattern(51) });
    const [, , ...addresses] = [0, 0, ...packet.subarray(12, 20)];
    const length = packet.length - 20;
    const pseudo = Buffer.from([...addresses, 0, 6, length >> 8, length & 0xff]);
    packet.writeUInt16BE(~checksum(pseudo) & 0xffff, 36);
    const { sent } = pump(vnetHeader({ flags: 1, start: 20, offset: 16 }), packet);
    expect(transportChecksum(sent[0] as Buffer)).toBe(0);
  });

  it.each([
    ["behind the packet", { start: 20, offset: 1000 }],
    ["in the IP header", { start: 0, offset: 10 }],
  ])("are dropped when their checksum is %s", (_, place) => {
    const { sent, counts } = pump(vnetHeader({ flags: 1, ...place }), tcpSegment({ payload: pattern(9) }));
    expect(sent).toEqual([]);
    expect(counts.malformed).toBe(1);
  });

  it("are cut into segments as a network card does it", () => {
    const flags = ACK | PSH | FIN | CWR;
    const packet = tcpSegment({
      payload: pattern(250),
      sequence: 2 ** 32 - 100,
      id: 0xffff,
      fragment: 0,
      flags,
    });
    const { sent } = pump(vnetHeader({ flags: 1, gsoType: 1, gsoSize: 100, start: 20, offset: 16 }), packet);
    expect(sent.map(({ length }) => length)).toEqual([140, 140, 90]);
    for (const one of sent) {
      expect(one.readUInt16BE(2)).toBe(one.length);
      expect(checksum(one.subarray(0, 20))).toBe(0);
      expect(transportChecksum(one)).toBe(0);
    }
    expect(sent.map((one) => one.readUInt32BE(24))).toEqual([2 ** 32 - 100, 0, 100]);
    expect(sent.map((one) => one.readUInt16BE(4))).toEqual([0xffff, 0, 1]);
    expect(sent.map((one) => one.readUInt8(33))).toEqual([ACK | CWR, ACK, ACK | PSH | FIN]);
    expect(Buffer.concat(sent.map((one) => one.subarray(40)))).toEqual(Buffer.from(pattern(250)));
  });

  it.each([
    ["a TCP header of 4 bytes", 0x10],
    ["a TCP header behind the packet's end", 0xf0],
  ])("are dropped with %s", (_, offset) => {
    const packet = tcpSegment({ payload: pattern(30) });
    packet[32] = offset;
    const { sent, counts } = pump(
      vnetHeader({ flags: 1, gsoType: 1, gsoSize: 10, start: 20, offset: 16 }),
      packet,
    );
    expect(sent).toEqual([]);
    expect(counts.malformed).toBe(1);
  });

  it("carry their congestion mark to tulle, which brings it back in, and to no other", () => {
    const marked = tcpSegment({ payload: pattern(10), tos: 3 });
    expect(pump(vnetHeader(), marked).ecn).toEqual([3]);
    expect(pump(vnetHeader(), marked, { isFast: false }).ecn).toEqual([0]);
  });

  it("are answered when they have no hop left or no peer has them", () => {
    const expired = pump(vnetHeader(), tcpSegment({ payload: pattern(10), ttl: 1 }));
    expect(expired).toMatchObject({ sent: [], errors: ["time exceeded"], counts: { expired: 1 } });
    const lost = pump(vnetHeader(), tcpSegment({ payload: pattern(10), destination: "10.2.7.2" }));
    expect(lost).toMatchObject({ sent: [], errors: ["unreachable"], counts: { unreachable: 1 } });
  });
});
