import { describe, expect, it } from "vitest";
import { Packet } from "../../../../backends/datapath/packet.ts";
import { TcpRuns } from "../../../../backends/datapath/tcp-runs.ts";
import {
  createWorkbench,
  pattern,
  type SegmentFields,
  tcpSegment,
  transportChecksum,
} from "../../../support/datapath-fixture.ts";
import { checksum } from "../../../support/raw-peer.ts";

const [ACK, PSH, FIN] = [0x10, 0x08, 0x01];
const MSS = 100;

interface Written {
  readonly vnet: Buffer;
  readonly packet: Buffer;
}

/** Feeds packets and answers what was written, in order; single packets have an empty virtio header. */
function run(packets: readonly Buffer[]): Written[] {
  const { arena, sum, at } = createWorkbench();
  const written: Written[] = [];
  const read = (offset: number, length: number) => Buffer.from(arena.bytes.subarray(offset, offset + length));
  const runs = new TcpRuns(arena, sum, (iovecs, count) => {
    const pieces = Array.from({ length: count }, (_, index) => {
      const base = Number(arena.view.getBigUint64(iovecs + index * 16, true)) - arena.base;
      return read(base, arena.view.getUint32(iovecs + index * 16 + 8, true));
    });
    written.push({ vnet: pieces[0] as Buffer, packet: Buffer.concat(pieces.slice(1)) });
  });
  const packet = new Packet(arena, sum);
  let next = at;
  for (const bytes of packets) {
    arena.bytes.set(bytes, next);
    expect(packet.parse(next, bytes.length)).toBe(true);
    if (!runs.take(packet)) written.push({ vnet: Buffer.alloc(10), packet: read(next, bytes.length) });
    next += (bytes.length + 3) & ~3;
  }
  runs.flush();
  return written;
}

/** Consecutive segments. */
function stream(sizes: readonly number[], fields: Partial<SegmentFields> = {}): Buffer[] {
  let sequence = fields.sequence ?? 1000;
  return sizes.map((size, index) => {
    const segment = tcpSegment({ ...fields, sequence, id: index + 1, payload: pattern(size, index) });
    sequence = (sequence + size) >>> 0;
    return segment;
  });
}

describe("merging TCP segments", () => {
  it("makes one packet of consecutive ones, which the kernel can take apart again", () => {
    const segments = stream([MSS, MSS, MSS, 40]);
    const [{ vnet, packet }] = run(segments) as [Written];
    expect(packet.subarray(40)).toEqual(Buffer.concat(segments.map((one) => one.subarray(40))));
    expect(packet.readUInt16BE(2)).toBe(packet.length);
    expect(checksum(packet.subarray(0, 20))).toBe(0);
    // NEEDS_CSUM, TCPV4, headers of 40 bytes, segments of 100, checksum at 20 + 16.
    expect([vnet[0], vnet[1], vnet.readUInt16LE(2), vnet.readUInt16LE(4)]).toEqual([1, 1, 40, MSS]);
    expect([vnet.readUInt16LE(6), vnet.readUInt16LE(8)]).toEqual([20, 16]);
    // The field holds the pseudo header's sum; completed as a network card does it, the packet is right.
    packet.writeUInt16BE(checksum(packet.subarray(20)), 36);
    expect(transportChecksum(packet)).toBe(0);
  });

  it("leaves a single one as it came", () => {
    const segments = stream([MSS]);
    expect(run(segments)).toEqual([{ vnet: Buffer.alloc(10), packet: segments[0] }]);
  });

  it("ends a run at PSH, and hands PSH on", () => {
    const [first, second] = stream([MSS, MSS]) as [Buffer, Buffer];
    const pushed = tcpSegment({ sequence: 1100, id: 2, flags: ACK | PSH, payload: pattern(MSS, 1) });
    const after = tcpSegment({ sequence: 1200, id: 3, payload: pattern(MSS, 2) });
    const written = run([first, pushed, after]);
    expect(second.length).toBe(pushed.length);
    expect(written.map(({ packet }) => packet.length)).toEqual([40 + 2 * MSS, 40 + MSS]);
    expect((written[0] as Written).packet.readUInt8(33)).toBe(ACK | PSH);
  });

  it("never merges across a gap, another flag, or other header fields", () => {
    const differing: Partial<SegmentFields>[] = [
      { sequence: 1101 },
      { flags: ACK | FIN },
      { window: 501 },
      { ttl: 62 },
      { tos: 2 },
      { fragment: 0 },
      { options: [1, 1, 1, 1] },
      { port: 40_001 },
      { source: "10.2.2.3" },
    ];
    const [first] = stream([MSS]) as [Buffer];
    for (const fields of differing) {
      const next = tcpSegment({ sequence: 1100, id: 2, payload: pattern(MSS), ...fields });
      expect(run([first, next]).map(({ packet }) => packet)).toEqual([first, next]);
    }
  });

  it("merges without don't-fragment only where the identifications follow each other", () => {
    const with0 = (id: number, sequence: number) =>
      tcpSegment({ id, sequence, fragment: 0, payload: pattern(MSS) });
    expect(run([with0(5, 1000), with0(6, 1100)])).toHaveLength(1);
    expect(run([with0(5, 1000), with0(9, 1100)])).toHaveLength(2);
  });

  it("hands a segment with a wrong checksum on as it is: merging would vouch for it", () => {
    const segments = stream([MSS, MSS]);
    const [first, damaged] = segments as [Buffer, Buffer];
    damaged[60] = (damaged[60] as number) ^ 1;
    expect(run(segments).map(({ packet }) => packet)).toEqual([first, damaged]);
  });

  it("keeps the order within a connection when several mix, also more than it follows at once", () => {
    const connections = Array.from({ length: 12 }, (_, index) =>
      stream([MSS, MSS, MSS], { port: 50_000 + index }),
    );
    const mixed = [0, 1, 2].flatMap((round) => connections.map((segments) => segments[round] as Buffer));
    const payloads = new Map<number, Buffer>();
    for (const { packet } of run(mixed)) {
      const port = packet.readUInt16BE(20);
      payloads.set(port, Buffer.concat([payloads.get(port) ?? Buffer.alloc(0), packet.subarray(40)]));
    }
    connections.forEach((segments, index) => {
      expect(payloads.get(50_000 + index)).toEqual(Buffer.concat(segments.map((one) => one.subarray(40))));
    });
  });

  it("stays within the largest packet", () => {
    const written = run(stream(Array.from({ length: 50 }, () => 1400)));
    expect(written.every(({ packet }) => packet.length <= 65_535)).toBe(true);
    expect(written.length).toBe(2);
  });

  it("follows the sequence number across its wrap", () => {
    expect(run(stream([MSS, MSS], { sequence: 2 ** 32 - 50 }))).toHaveLength(1);
  });
});
