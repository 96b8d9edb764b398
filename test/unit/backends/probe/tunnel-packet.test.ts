import { describe, expect, it } from "vitest";
import { checksum } from "../../../../backends/probe/echo-message.ts";
import { decodeTunnelReport } from "../../../../backends/probe/network-report.ts";
import { encodeSyn } from "../../../../backends/probe/syn-socket.ts";
import { decodeTunnelPacket, type TunnelKind } from "../../../../backends/probe/tunnel-packet.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";

const OUTER = ["192.168.50.12", "192.168.50.11"] as const;
const INNER = ["10.2.54.0", "10.2.16.0"] as const;
const VXLAN: TunnelKind = { port: 8472, format: "vxlan" };
const ECHO_REPLY = Buffer.from([0, 0, 0, 0, 0, 1, 0, 1]);
const ECHO_REQUEST = Buffer.from([8, 0, 0, 0, 0, 1, 0, 1]);

function ip([source, destination]: readonly [string, string], protocol: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt8(0x45, 0);
  header.writeUInt8(protocol, 9);
  header.set(Address.parse(source).toBytes(), 12);
  header.set(Address.parse(destination).toBytes(), 16);
  return Buffer.concat([header, payload]);
}

function udp(port: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(port, 2);
  return Buffer.concat([header, payload]);
}

function vxlan(vni: number, inner: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(0x08, 0);
  header.writeUInt32BE(vni * 256, 4);
  const ethernet = Buffer.from([...[2, 0, 0, 0, 0, 1], ...[2, 0, 0, 0, 0, 2], 0x08, 0x00]);
  return Buffer.concat([header, ethernet, inner]);
}

describe("a tunnel packet", () => {
  const answer = ip(INNER, 1, ECHO_REPLY);

  it("of VXLAN tells its VNI, and what is inside", () => {
    const packet = ip(OUTER, 17, udp(8472, vxlan(7, answer)));
    expect(decodeTunnelPacket(packet, VXLAN)).toMatchObject({
      port: 8472,
      vni: 7,
      frame: { destination: "02:00:00:00:00:01", source: "02:00:00:00:00:02" },
      inner: { isEchoReply: true, segment: null },
    });
    expect(decodeTunnelPacket(packet, VXLAN)?.inner?.source.toString()).toBe(INNER[0]);
  });

  it("of VXLAN is recognized on another port too, by its header", () => {
    const packet = ip(OUTER, 17, udp(4789, vxlan(1, ip(INNER, 1, ECHO_REQUEST))));
    expect(decodeTunnelPacket(packet, VXLAN)).toMatchObject({ port: 4789, inner: { isEchoReply: false } });
    expect(decodeTunnelPacket(ip(OUTER, 17, udp(8472, Buffer.alloc(40))), VXLAN)).toBeNull();
  });

  it("of IP in IP, and of IP in UDP, holds the packet as it is; an encrypted one shows nothing", () => {
    const ipip = ip(OUTER, 4, answer);
    expect(decodeTunnelPacket(ipip, { port: null, format: "ip" })).toMatchObject({
      port: null,
      vni: null,
      frame: null,
    });
    const plain = ip(OUTER, 17, udp(8285, answer));
    expect(decodeTunnelPacket(plain, { port: 8285, format: "ip" })?.inner?.isEchoReply).toBe(true);
    expect(decodeTunnelPacket(plain, { port: 8285, format: "opaque" })?.inner).toBeNull();
    expect(decodeTunnelPacket(plain, { port: 8286, format: "ip" })).toBeNull();
  });

  it("of WireGuard tells the type of its message", () => {
    const kind: TunnelKind = { port: 51820, format: "opaque" };
    const typeOf = (type: number) =>
      decodeTunnelPacket(ip(OUTER, 17, udp(51820, Buffer.from([type, 0, 0, 0]))), kind)?.message;
    expect([1, 2, 3, 4, 5].map(typeOf)).toEqual(["initiation", "response", "cookie", "data", null]);
  });

  it("tells how far a TCP connection inside has come", () => {
    const tcp = Buffer.alloc(20);
    tcp.writeUInt16BE(80, 0);
    tcp.writeUInt16BE(40_000, 2);
    tcp.writeUInt32BE(0xfffffff0, 4);
    tcp.writeUInt32BE(7, 8);
    tcp.writeUInt8(0x10, 13);
    const packet = ip(OUTER, 17, udp(8472, vxlan(7, ip(INNER, 6, tcp))));
    expect(decodeTunnelPacket(packet, VXLAN)?.inner?.segment).toEqual({
      ...{ sourcePort: 80, destinationPort: 40_000 },
      ...{ sequence: 0xfffffff0, acknowledged: 7, isReset: false },
    });
  });

  it("that is cut anywhere is decoded as far as it goes, or not at all", () => {
    const packet = ip(OUTER, 17, udp(8472, vxlan(7, answer)));
    for (let length = 0; length < packet.length; length++) {
      expect(() => decodeTunnelPacket(packet.subarray(0, length), VXLAN)).not.toThrow();
    }
  });
});

it("a report about a tunnel packet tells where that went", () => {
  const message = Buffer.concat([
    Buffer.from([3, 3, 0, 0, 0, 0, 0, 0]),
    ip(OUTER, 17, udp(8472, Buffer.alloc(0))),
  ]);
  expect(decodeTunnelReport(4, message)).toMatchObject({ port: 8472, text: "port unreachable" });
  const echo = Buffer.concat([Buffer.from([3, 1, 0, 0, 0, 0, 0, 0]), ip(OUTER, 1, ECHO_REQUEST)]);
  expect(decodeTunnelReport(4, echo)).toBeNull();
});

it.each([
  ["10.2.16.0", "10.2.54.0"],
  ["fd00::1", "fd00::2"],
])("a segment from %s has a checksum that covers both addresses", (source, target) => {
  const [from, to] = [Address.parse(source), Address.parse(target)];
  const options = { target: to, targetPort: 9, sourcePort: 61_234, sequence: 0xdeadbeef };
  const segment = encodeSyn(from, options);
  const pseudo = Buffer.from([0, 6, 0, segment.length]);
  expect(checksum(Buffer.concat([from.toBytes(), to.toBytes(), pseudo, segment]))).toBe(0);
});
