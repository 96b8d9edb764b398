/** Every object that rtnetlink makes for us, compared with what `ip -j` and `bridge -j` say about it. */

import { afterAll, beforeAll, expect, it } from "vitest";
import {
  decodeAddress,
  encodeAddressDump,
  encodeDeleteAddress,
  encodeNewAddress,
} from "../../../backends/netlink/address.ts";
import { NetlinkConnection } from "../../../backends/netlink/connection.ts";
import { NetlinkError } from "../../../backends/netlink/errors.ts";
import {
  decodeLink,
  encodeDeleteLink,
  encodeGetLink,
  encodeLinkDump,
  encodeNewLink,
  encodeSetBridgePort,
  encodeSetLink,
} from "../../../backends/netlink/link/link.ts";
import {
  decodeFdb,
  decodeNeighbour,
  encodeDeleteFdb,
  encodeDeleteNeighbour,
  encodeFdbDump,
  encodeNeighbourDump,
  encodeNewFdb,
  encodeNewNeighbour,
  NUD_PERMANENT,
} from "../../../backends/netlink/neighbour.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import {
  decodeNexthop,
  encodeDeleteNexthop,
  encodeNewNexthop,
  encodeNexthopDump,
} from "../../../backends/netlink/nexthop.ts";
import {
  decodeRoute,
  encodeDeleteRoute,
  encodeGetRoute,
  encodeNewRoute,
  encodeRouteDump,
} from "../../../backends/netlink/route.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { parseMac } from "../../../ipam/addresses/mac.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";

const MAC = parseMac("02:00:00:00:00:aa");
const ip = (text: string) => Address.parse(text);

describeAsRoot("rtnetlink objects", () => {
  let host: TestNetns;
  let other: TestNetns;
  let hostHandle: NetnsHandle;
  let otherHandle: NetnsHandle;
  let connection: NetlinkConnection;
  let parent = 0;
  let vxlan = 0;

  const link = (name: string) => connection.get(encodeGetLink({ name }), decodeLink);
  const failure = (run: () => void): NetlinkError => {
    try {
      run();
    } catch (error) {
      if (error instanceof NetlinkError) return error;
    }
    throw new Error("no NetlinkError");
  };

  beforeAll(() => {
    host = createNetns("nl-host");
    other = createNetns("nl-other");
    hostHandle = NetnsHandle.open(host.path);
    otherHandle = NetnsHandle.open(other.path);
    connection = NetlinkConnection.open({ netns: hostHandle });
    connection.request(
      encodeNewLink({
        name: "up0",
        isUp: true,
        info: { kind: "veth", peer: { name: "peer0", mac: MAC, netnsFd: otherHandle.fd } },
      }),
    );
    parent = link("up0").index;
    connection.request(encodeNewAddress({ interfaceIndex: parent, address: ip("192.0.2.1"), length: 24 }));
    connection.request(
      encodeNewLink({
        name: "flannel.7",
        mac: MAC,
        mtuBytes: 1450,
        isUp: true,
        info: {
          kind: "vxlan",
          vni: 7,
          local: ip("192.0.2.1"),
          parentIndex: parent,
          port: 8472,
          learning: false,
          gbp: true,
        },
      }),
    );
    vxlan = link("flannel.7").index;
  });

  afterAll(() => {
    connection?.close();
    hostHandle?.close();
    otherHandle?.close();
    host?.dispose();
    other?.dispose();
  });

  it("makes a veth whose peer is in another namespace", () => {
    expect(other.ipJson(["link", "show", "peer0"])[0]).toMatchObject({ address: MAC, ifname: "peer0" });
    expect(link("up0")).toMatchObject({ type: "veth", isUp: true, linkNetnsId: expect.any(Number) });
  });

  it("makes a vxlan device as asked", () => {
    const [shown] = host.ipJson(["-d", "link", "show", "flannel.7"]);
    expect(shown).toMatchObject({
      address: MAC,
      mtu: 1450,
      linkinfo: {
        info_kind: "vxlan",
        info_data: { id: 7, link: "up0", local: "192.0.2.1", port: 8472, learning: false, gbp: true },
      },
    });
    expect(link("flannel.7")).toMatchObject({
      type: "vxlan",
      mac: MAC,
      mtuBytes: 1450,
      isUp: true,
      vxlan: { vni: 7, local: ip("192.0.2.1"), parentIndex: parent, port: 8472, learning: false, gbp: true },
    });
  });

  it("changes, renames and deletes a bridge and its port", async () => {
    connection.request(encodeNewLink({ name: "br0", info: { kind: "bridge", multicastSnooping: false } }));
    connection.request(encodeNewLink({ name: "p0", info: { kind: "veth", peer: { name: "p1" } } }));
    const bridge = link("br0").index;
    const port = link("p0").index;
    connection.request(
      encodeSetLink(bridge, { isUp: true, name: "br1", mtuBytes: 1400, isPromiscuous: true }),
    );
    connection.request(encodeSetLink(port, { masterIndex: bridge }));
    connection.request(encodeSetBridgePort(port, { hairpin: true, isolated: true, learning: false }));
    expect(host.ipJson(["-d", "link", "show", "br1"])[0]).toMatchObject({
      mtu: 1400,
      promiscuity: 1,
      linkinfo: { info_data: { mcast_snooping: 0 } },
    });
    expect(host.ipJson(["-d", "link", "show", "p0"])[0]).toMatchObject({
      master: "br1",
      linkinfo: { info_slave_data: { hairpin: true, isolated: true, learning: false } },
    });
    expect(link("p0")).toMatchObject({
      masterIndex: bridge,
      bridgePort: { hairpin: true, isolated: true, learning: false, unicastFlood: true },
    });
    expect(link("br1").bridge?.multicastSnooping).toBe(false);
    expect(connection.dump(encodeLinkDump({ type: "bridge" }), decodeLink).map((one) => one.name)).toEqual([
      "br1",
    ]);
    await connection.requestAsync(encodeDeleteLink({ index: bridge }));
    connection.request(encodeDeleteLink({ name: "p0" }));
    expect(failure(() => link("br1")).errnoName).toBe("ENODEV");
    await expect(connection.requestAsync(encodeDeleteLink({ index: bridge }))).rejects.toMatchObject({
      errnoName: "ENODEV",
    });
  });

  it.each(["10.1.0.1/32", "2001:db8::1/64"])("adds, dumps and deletes the address %s", (text) => {
    const prefix = { address: ip(text.split("/")[0] ?? ""), length: Number(text.split("/")[1]) };
    connection.request(encodeNewAddress({ interfaceIndex: vxlan, ...prefix }));
    const dumped = connection.dump(encodeAddressDump(vxlan), decodeAddress);
    expect(dumped).toContainEqual(expect.objectContaining({ ...prefix, interfaceIndex: vxlan }));
    const shown = host.ipJson(["address", "show", "dev", "flannel.7"])[0];
    expect(JSON.stringify(shown)).toContain(`"local":"${prefix.address}","prefixlen":${prefix.length}`);
    expect(
      failure(() => connection.request(encodeNewAddress({ interfaceIndex: vxlan, ...prefix }))).errnoName,
    ).toBe("EEXIST");
    connection.request(encodeDeleteAddress({ interfaceIndex: vxlan, ...prefix }));
    expect(
      failure(() => connection.request(encodeDeleteAddress({ interfaceIndex: vxlan, ...prefix }))).errnoName,
    ).toBe("EADDRNOTAVAIL");
  });

  it.each([
    ["10.9.3.0", "10.9.3.0/24", 4, []],
    ["2001:db8:9:3::", "2001:db8:9:3::/64", 6, ["-6"]],
  ] as const)(
    "adds and deletes a neighbour, a nexthop and routes through %s",
    (gatewayText, prefixText, family, flag) => {
      const gateway = ip(gatewayText);
      const destination = Prefix.parse(prefixText);
      connection.request(encodeNewNeighbour({ interfaceIndex: vxlan, address: gateway, mac: MAC }));
      expect(host.ipJson([...flag, "neigh", "show", "dev", "flannel.7"])).toContainEqual(
        expect.objectContaining({ dst: gatewayText, lladdr: MAC, state: ["PERMANENT"] }),
      );
      expect(connection.dump(encodeNeighbourDump(vxlan), decodeNeighbour)).toContainEqual(
        expect.objectContaining({ address: gateway, mac: MAC, state: NUD_PERMANENT, interfaceIndex: vxlan }),
      );

      const nexthop = { id: 70_000 + family, outputIndex: vxlan, gateway, isOnlink: true, protocol: 116 };
      connection.request(encodeNewNexthop(nexthop));
      expect(connection.dump(encodeNexthopDump(vxlan), decodeNexthop)).toContainEqual(
        expect.objectContaining({ ...nexthop, family, sort: "single" }),
      );

      connection.request(encodeNewRoute({ destination, nexthopId: nexthop.id, protocol: 116 }));
      const viaObject = { destination, gateway, nexthopId: nexthop.id, protocol: 116, outputIndex: vxlan };
      const dump = () =>
        connection.dump(encodeRouteDump(family, { table: 254, outputIndex: vxlan }), decodeRoute);
      expect(dump()).toContainEqual(expect.objectContaining(viaObject));
      expect(host.ipJson([...flag, "route", "show", prefixText])[0]).toMatchObject({
        nhid: nexthop.id,
        protocol: "116",
      });
      expect(
        failure(() => connection.request(encodeNewRoute({ destination, nexthopId: nexthop.id }))).errnoName,
      ).toBe("EEXIST");
      connection.request(encodeDeleteNexthop(nexthop.id));
      expect(dump().filter((route) => route.destination.equals(destination))).toEqual([]);

      const inline = { destination, gateway, isOnlink: true, outputIndex: vxlan, protocol: 116, metric: 50 };
      connection.request(encodeNewRoute(inline));
      expect(dump()).toContainEqual(expect.objectContaining({ ...inline, nexthopId: null }));
      expect(host.ipJson([...flag, "route", "show", prefixText])[0]).toMatchObject({
        gateway: gatewayText,
        dev: "flannel.7",
        metric: 50,
        flags: ["onlink"],
      });
      expect(
        failure(() => connection.request(encodeDeleteRoute({ ...inline, protocol: 99 }))).errnoName,
      ).toBe("ESRCH");
      connection.request(encodeDeleteRoute(inline));
      connection.request(encodeDeleteNeighbour({ interfaceIndex: vxlan, address: gateway }));
      expect(
        failure(() => connection.request(encodeDeleteNeighbour({ interfaceIndex: vxlan, address: gateway })))
          .errnoName,
      ).toBe("ENOENT");
    },
  );

  it("answers which way packets leave", () => {
    expect(connection.get(encodeGetRoute(ip("192.0.2.9")), decodeRoute)).toMatchObject({
      outputIndex: parent,
      gateway: null,
      source: ip("192.0.2.1"),
    });
  });

  it("adds, dumps and deletes forwarding entries of one device", () => {
    const mac = parseMac("02:00:00:00:00:bb");
    connection.request(encodeNewFdb({ interfaceIndex: vxlan, mac, remote: ip("192.0.2.2") }));
    expect(connection.dump(encodeFdbDump(vxlan), decodeFdb)).toEqual([
      expect.objectContaining({
        interfaceIndex: vxlan,
        mac,
        remote: ip("192.0.2.2"),
        state: NUD_PERMANENT,
        masterIndex: null,
      }),
    ]);
    const shown = JSON.parse(host.exec("bridge", ["-j", "fdb", "show", "dev", "flannel.7"]));
    expect(shown).toContainEqual(expect.objectContaining({ mac, dst: "192.0.2.2", state: "permanent" }));
    connection.request(encodeDeleteFdb({ interfaceIndex: vxlan, mac }));
    expect(failure(() => connection.request(encodeDeleteFdb({ interfaceIndex: vxlan, mac }))).errnoName).toBe(
      "ENOENT",
    );
  });

  it("passes on the kernel's own words", () => {
    const error = failure(() =>
      connection.request(encodeNewRoute({ destination: Prefix.parse("10.77.0.0/24"), nexthopId: 4_000_000 })),
    );
    expect(error).toMatchObject({
      code: "TULLE_NETLINK",
      operation: "RTM_NEWROUTE",
      errnoName: "EINVAL",
      kernelMessage: "Nexthop id does not exist",
    });
  });

  it("carries out a batch of 5,000 routes and reports only the wrong one", () => {
    const routes = Array.from({ length: 5000 }, (_, index) =>
      encodeNewRoute({
        destination: Prefix.of(Address.of(4, (20n << 24n) + (BigInt(index) << 8n)), 24),
        outputIndex: index === 2500 ? 9_999 : vxlan,
        protocol: 116,
      }),
    );
    const results = connection.batch(routes);
    expect(results.filter((result) => result !== null)).toHaveLength(1);
    expect(results[2500]).toMatchObject({ errnoName: "ENODEV" });
    const dumped = connection.dump(encodeRouteDump(4, { table: 254, protocol: 116 }), decodeRoute);
    expect(dumped.filter((route) => route.protocol === 116)).toHaveLength(4999);
    expect(connection.batch(routes).map((result) => result?.errnoName ?? "")).toEqual(
      Array.from({ length: 5000 }, (_, index) => (index === 2500 ? "ENODEV" : "EEXIST")),
    );
  });

  it("starts afresh after a decoder that threw in the middle of a dump", () => {
    const broken = () => {
      throw new Error("decoder");
    };
    expect(() => connection.dump(encodeRouteDump(4), broken)).toThrow("decoder");
    expect(
      connection.dump(encodeRouteDump(4, { table: 254, protocol: 116 }), decodeRoute).length,
    ).toBeGreaterThan(4998);
  });
});
