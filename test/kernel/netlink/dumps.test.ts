/** Large dumps, dumps that are interrupted, and the kernel's own answers cut at every byte. */

import { execFileSync } from "node:child_process";
import process from "node:process";
import { afterAll, beforeAll, expect, it } from "vitest";
import { decodeAddress, encodeAddressDump } from "../../../backends/netlink/address.ts";
import { NetlinkConnection } from "../../../backends/netlink/connection.ts";
import {
  decodeLink,
  encodeGetLink,
  encodeLinkDump,
  encodeNewLink,
} from "../../../backends/netlink/link/link.ts";
import { forEachMessage, NetlinkMessage, stamp } from "../../../backends/netlink/message.ts";
import {
  decodeFdb,
  decodeNeighbour,
  encodeFdbDump,
  encodeNeighbourDump,
  encodeNewFdb,
  encodeNewNeighbour,
} from "../../../backends/netlink/neighbour.ts";
import { decodeNetconf } from "../../../backends/netlink/netconf.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { decodeNetnsId, encodeNetnsIdDump } from "../../../backends/netlink/netns-id.ts";
import { decodeNexthop, encodeNewNexthop, encodeNexthopDump } from "../../../backends/netlink/nexthop.ts";
import { errorOf, isFinal } from "../../../backends/netlink/reply.ts";
import { decodeRoute, encodeRouteDump, RT_TABLE_MAIN } from "../../../backends/netlink/route.ts";
import { DATAGRAM_BYTES, NetlinkSocket } from "../../../backends/netlink/socket.ts";
import { Address, FAMILIES, type Family } from "../../../ipam/addresses/ip.ts";
import { macFromBytes } from "../../../ipam/addresses/mac.ts";
import { CodecError } from "../../../ipam/errors.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

const COUNT = 5000;
const LINKS = 100;

describeAsRoot("dumps", () => {
  let host: TestNetns;
  let handle: NetnsHandle;
  let connection: NetlinkConnection;
  let vxlan = 0;

  beforeAll(() => {
    host = createNetns("nl-dumps");
    handle = NetnsHandle.open(host.path);
    connection = NetlinkConnection.open({ netns: handle });
    const names = Array.from({ length: LINKS }, (_, at) => `link${at}`);
    connection.batch(names.map((name) => encodeNewLink({ name, isUp: true, info: { kind: "bridge" } })));
    const info = { kind: "vxlan", vni: 7, port: 8472, learning: false } as const;
    connection.request(encodeNewLink({ name: "flannel.7", isUp: true, info }));
    vxlan = connection.get(encodeGetLink({ name: "flannel.7" }), decodeLink).index;
  });

  afterAll(() => {
    connection?.close();
    handle?.close();
    host?.dispose();
  });

  it(`lists ${COUNT} neighbours and forwarding entries, each once`, () => {
    const addresses = Array.from({ length: COUNT }, (_, at) =>
      Address.of(4, (10n << 24n) + (BigInt(at) << 8n)),
    );
    const macs = addresses.map((address) => macFromBytes(Uint8Array.of(2, 0, ...address.toBytes())));
    const mac = (at: number) => macs[at] ?? fail();
    const requests = addresses.flatMap((address, at) => [
      encodeNewNeighbour({ interfaceIndex: vxlan, address, mac: mac(at) }),
      encodeNewFdb({ interfaceIndex: vxlan, mac: mac(at), remote: address }),
    ]);
    expect(connection.batch(requests).filter((error) => error !== null)).toEqual([]);
    const neighbours = connection.dump(encodeNeighbourDump(vxlan), decodeNeighbour);
    const own = neighbours.filter(({ address }) => address.family === 4);
    expect(new Map(own.map((one) => [`${one.address}`, one.mac]))).toEqual(
      new Map(addresses.map((address, at) => [`${address}`, mac(at)])),
    );
    expect(own).toHaveLength(COUNT);
    const entries = connection.dump(encodeFdbDump(vxlan), decodeFdb);
    expect(new Set(entries.map((entry) => entry.mac))).toEqual(new Set(macs));
    expect(entries).toHaveLength(COUNT);
  });

  it("restarts a dump when the list changed meanwhile", () => {
    const other = NetlinkConnection.open({ netns: handle });
    let isFirst = true;
    const links = connection.dump(encodeLinkDump(), (message) => {
      if (isFirst) other.request(encodeNewLink({ name: "late", info: { kind: "bridge" } }));
      isFirst = false;
      return decodeLink(message);
    });
    expect(links.filter(({ name }) => name === "late")).toHaveLength(1);
    expect(new Set(links.map(({ index }) => index)).size).toBe(links.length);
    other.close();
  });

  it("gives up on a list that never rests, with an error that says try later, and works on", () => {
    const other = NetlinkConnection.open({ netns: handle });
    let visits = 0;
    const dump = () =>
      connection.dump(encodeLinkDump(), (message) => {
        const link = decodeLink(message);
        // Once for each datagram of the answer is enough.
        if (visits++ % 20 === 0) {
          other.request(encodeNewLink({ name: `restless${visits}`, info: { kind: "bridge" } }));
        }
        return link;
      });
    expect(dump).toThrow(expect.objectContaining({ errnoName: "EINTR", retryable: true }));
    expect(connection.dump(encodeLinkDump(), decodeLink).length).toBeGreaterThan(LINKS);
    other.close();
  });

  it("lists no routes of a namespace that never had one, where there is no main table yet", () => {
    // By hand, because the loopback device of the namespaces of other tests is up, which makes the tables.
    const name = `tulle-nl-routeless-${process.pid}`;
    execFileSync("ip", ["netns", "add", name]);
    const namespace = NetnsHandle.open(`/run/netns/${name}`);
    const routeless = NetlinkConnection.open({ netns: namespace });
    try {
      const request = (family: Family) => encodeRouteDump(family, { table: RT_TABLE_MAIN });
      expect(FAMILIES.flatMap((family) => routeless.dump(request(family), decodeRoute))).toEqual([]);
    } finally {
      routeless.close();
      namespace.close();
      execFileSync("ip", ["netns", "del", name]);
    }
  });

  it("decodes what the kernel says, and answers CodecError to every shorter part of it", () => {
    const gateway = Address.parse("10.0.0.0");
    connection.request(
      encodeNewNexthop({ id: 9, outputIndex: vxlan, gateway, isOnlink: true, protocol: 116 }),
    );
    host.exec("ip", ["route", "add", "10.0.0.0/24", "nhid", "9"]);
    host.exec("ip", ["-6", "route", "add", "2001:db8::/64", "dev", "flannel.7"]);
    host.exec("ip", ["route", "add", "10.1.0.0/24", "via", "10.0.0.0", "dev", "flannel.7", "onlink"]);
    const requests = [
      encodeLinkDump({ type: "vxlan" }),
      encodeGetLink({ name: "nowhere" }),
      encodeAddressDump(),
      encodeRouteDump(4),
      encodeRouteDump(6),
      encodeNexthopDump(),
      encodeNeighbourDump(vxlan),
      encodeFdbDump(vxlan),
      encodeNetnsIdDump(),
    ];
    const messages = requests.flatMap((request) => rawAnswers(handle, request).slice(0, 12));
    expect(messages.length).toBeGreaterThan(30);
    for (const whole of messages) {
      decodeAll(whole, false);
      for (let length = 0; length < whole.length; length++) {
        const part = Buffer.from(whole.subarray(0, length));
        expect(() => new NetlinkMessage(part)).toThrow(CodecError);
        if (length < 16) continue;
        part.writeUInt32LE(length, 0);
        decodeAll(part, true);
      }
    }
  });
});

const DECODERS = [
  decodeLink,
  decodeAddress,
  decodeRoute,
  decodeNexthop,
  decodeNeighbour,
  decodeFdb,
  decodeNetnsId,
  decodeNetconf,
  (message: NetlinkMessage) => (isFinal(message) ? errorOf(message, "test") : null),
];

/** Each decoder reads each message: of another type it makes no sense of it, but it must not fail otherwise. */
function decodeAll(bytes: Buffer, isDamaged: boolean): void {
  let understood = 0;
  for (const decode of DECODERS) {
    try {
      decode(new NetlinkMessage(bytes));
      understood++;
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
    }
  }
  if (!isDamaged) expect(understood).toBeGreaterThan(0);
}

/** The messages that answer a request, as the kernel sent them. */
function rawAnswers(netns: NetnsHandle, request: Buffer): Buffer[] {
  const socket = NetlinkSocket.open({ netns });
  const buffer = Buffer.alloc(DATAGRAM_BYTES);
  const answers: Buffer[] = [];
  try {
    stamp(request, 0, 1, true);
    socket.send(request);
    for (let length = socket.receive(buffer); length > 0; length = socket.receive(buffer)) {
      let start = 0;
      forEachMessage(buffer, length, (message) => {
        const end = message.next;
        answers.push(Buffer.from(buffer.subarray(start, start + buffer.readUInt32LE(start))));
        start = end;
      });
    }
  } finally {
    socket.close();
  }
  return answers;
}

function fail(): never {
  throw new Error("no such entry");
}
