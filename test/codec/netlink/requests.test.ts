/**
 * Our requests, byte for byte those of iproute2 6.1 (test/fixtures/netlink/iproute2-requests.json: captured with
 * `strace -e trace=sendmsg -e write=all`, sequence numbers zeroed), and decoders on damaged bytes.
 */

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeAddress, encodeDeleteAddress, encodeNewAddress } from "../../../backends/netlink/address.ts";
import {
  decodeLink,
  encodeNewLink,
  encodeSetBridgePort,
  encodeSetLink,
} from "../../../backends/netlink/link/link.ts";
import { NetlinkMessage, NLM_F_ACK } from "../../../backends/netlink/message.ts";
import {
  decodeFdb,
  decodeNeighbour,
  encodeDeleteFdb,
  encodeDeleteNeighbour,
  encodeNewFdb,
  encodeNewNeighbour,
  NUD_NOARP,
  NUD_PERMANENT,
} from "../../../backends/netlink/neighbour.ts";
import { decodeNexthop, encodeDeleteNexthop, encodeNewNexthop } from "../../../backends/netlink/nexthop.ts";
import { decodeRoute, encodeDeleteRoute, encodeNewRoute } from "../../../backends/netlink/route.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { parseMac } from "../../../ipam/addresses/mac.ts";
import { CodecError } from "../../../ipam/errors.ts";

const captured: readonly { command: string; request: string }[] = JSON.parse(
  readFileSync(new URL("../../fixtures/netlink/iproute2-requests.json", import.meta.url), "utf8"),
);

const bytesOf = (command: string): Buffer => {
  const found = captured.find((one) => one.command.startsWith(command));
  if (found === undefined) throw new Error(`no capture of "${command}"`);
  const bytes = Buffer.from(found.request, "hex");
  // The acknowledgement is the connection's business.
  bytes.writeUInt16LE(bytes.readUInt16LE(6) & ~NLM_F_ACK, 6);
  return bytes;
};

const BR0 = 2;
const VXLAN = 3;
const P0 = 5;
const mac = parseMac("02:00:00:00:00:bb");
const ip = (text: string) => Address.parse(text);
/** `bridge` always adds NUD_NOARP. */
const fdb = { interfaceIndex: VXLAN, mac, remote: ip("192.0.2.2"), state: NUD_PERMANENT | NUD_NOARP };
const inline = {
  destination: Prefix.parse("10.9.4.0/24"),
  gateway: ip("10.9.4.0"),
  outputIndex: VXLAN,
  metric: 50,
};

const REQUESTS: readonly (readonly [string, Buffer])[] = [
  ["ip link add br0", encodeNewLink({ name: "br0", info: { kind: "bridge", multicastSnooping: false } })],
  ["ip link set flannel.7 up", encodeSetLink(VXLAN, { isUp: true })],
  ["ip link set br0 mtu", encodeSetLink(BR0, { mtuBytes: 1400 })],
  ["ip link set p0 master", encodeSetLink(P0, { masterIndex: BR0 })],
  ["bridge link set", encodeSetBridgePort(P0, { hairpin: true, isolated: true })],
  ["ip address add", encodeNewAddress({ interfaceIndex: VXLAN, address: ip("10.1.0.1"), length: 32 })],
  ["ip address del", encodeDeleteAddress({ interfaceIndex: VXLAN, address: ip("10.1.0.1"), length: 32 })],
  ["ip neighbour replace", encodeNewNeighbour({ interfaceIndex: VXLAN, address: ip("10.9.3.0"), mac })],
  ["ip neighbour del", encodeDeleteNeighbour({ interfaceIndex: VXLAN, address: ip("10.9.3.0") })],
  ["bridge fdb replace", encodeNewFdb(fdb)],
  ["bridge fdb del", encodeDeleteFdb(fdb)],
  [
    "ip nexthop add",
    encodeNewNexthop({
      id: 70004,
      gateway: ip("10.9.3.0"),
      outputIndex: VXLAN,
      isOnlink: true,
      protocol: 116,
    }),
  ],
  ["ip nexthop del", encodeDeleteNexthop(70004)],
  [
    "ip route add 10.9.3.0/24",
    encodeNewRoute({ destination: Prefix.parse("10.9.3.0/24"), nexthopId: 70004, protocol: 116 }),
  ],
  ["ip route add 10.9.4.0/24", encodeNewRoute({ ...inline, isOnlink: true, protocol: 116 })],
  ["ip route del 10.9.4.0/24", encodeDeleteRoute(inline)],
  [
    "ip -6 route add",
    encodeNewRoute({ destination: Prefix.parse("2001:db8:9::/64"), outputIndex: VXLAN, protocol: 116 }),
  ],
];

describe("requests", () => {
  it.each(REQUESTS)("%s", (command, request) => {
    expect(canonical(request)).toEqual(canonical(bytesOf(command)));
  });

  it("describes a vxlan device as iproute2 does", () => {
    const link = decodeLink(new NetlinkMessage(bytesOf("ip link add flannel.7")));
    expect(link).toMatchObject({
      name: "flannel.7",
      mac: "02:00:00:00:00:aa",
      mtuBytes: 1450,
      type: "vxlan",
      vxlan: { vni: 7, local: ip("192.0.2.1"), parentIndex: BR0, port: 8472, learning: false, gbp: true },
    });
  });
});

describe("IPIP devices", () => {
  const decoded = (bytes: Buffer) => decodeLink(new NetlinkMessage(bytes));

  it("are read as iproute2 writes them, and as we write them", () => {
    const captured = decoded(bytesOf("ip link add flannel.ipip"));
    expect(captured).toMatchObject({
      name: "flannel.ipip",
      mtuBytes: 1480,
      type: "ipip",
      ipip: { local: ip("192.0.2.1"), remote: null, pathMtuDiscovery: false, protocol: 0, options: [] },
    });
    const info = { kind: "ipip", local: ip("192.0.2.1"), pathMtuDiscovery: false } as const;
    expect(decoded(encodeNewLink({ name: "flannel.ipip", mtuBytes: 1480, info }))).toEqual(captured);
  });

  it("have options that a plain tunnel has not", () => {
    const info = { kind: "ipip", remote: ip("192.0.2.9"), pathMtuDiscovery: true, protocol: 137 } as const;
    expect(decoded(encodeNewLink({ name: "t", info }))?.ipip).toMatchObject({
      remote: ip("192.0.2.9"),
      pathMtuDiscovery: true,
      options: ["mode"],
    });
  });
});

const DECODERS = [decodeLink, decodeAddress, decodeRoute, decodeNexthop, decodeNeighbour, decodeFdb];

describe("damaged bytes", () => {
  it("cut anywhere are a CodecError, whether or not the length still fits", () => {
    for (const { request } of captured) {
      const whole = Buffer.from(request, "hex");
      for (let length = 0; length < whole.length; length++) {
        const part = Buffer.from(whole.subarray(0, length));
        expect(() => new NetlinkMessage(part)).toThrow(CodecError);
        if (length >= 16) decodeAll(adjusted(part));
      }
    }
  });

  it("changed anywhere are decoded or a CodecError", () => {
    const index = fc.nat({ max: captured.length - 1 });
    fc.assert(
      fc.property(index, fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { maxLength: 8 }), (which, changes) => {
        const bytes = Buffer.from(captured[which]?.request ?? "", "hex");
        for (const [offset, value] of changes) bytes[16 + (offset % (bytes.length - 16))] = value;
        decodeAll(adjusted(bytes));
      }),
      { numRuns: 2000 },
    );
  });
});

/** The message's own length made to agree with its bytes. */
function adjusted(bytes: Buffer): Buffer {
  bytes.writeUInt32LE(bytes.length, 0);
  return bytes;
}

function decodeAll(bytes: Buffer): void {
  for (const decode of DECODERS) {
    try {
      decode(new NetlinkMessage(bytes));
    } catch (error) {
      expect(error).toBeInstanceOf(CodecError);
    }
  }
}

/** The header followed by the top-level attributes in order of their type: their order means nothing. */
function canonical(bytes: Buffer): readonly string[] {
  const headerLength = { 16: 16, 19: 16, 20: 8, 21: 8, 24: 12, 25: 12, 28: 12, 29: 12, 104: 8, 105: 8 }[
    bytes.readUInt16LE(4)
  ];
  const first = 16 + (headerLength ?? 0);
  const parts: string[] = [];
  if (headerLength === undefined) throw new Error("not a request that this test knows");
  for (let at = first; at < bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    parts.push(bytes.toString("hex", at, at + length));
    at += (length + 3) & ~3;
  }
  return [bytes.toString("hex", 0, first), ...parts.sort()];
}
