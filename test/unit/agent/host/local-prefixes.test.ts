/** What of a host's links, addresses and routes must stay reachable. */

import { describe, expect, it } from "vitest";
import type { HostLink, HostSnapshot } from "../../../../agent/host/host-snapshot.ts";
import { localPrefixes, withoutDataPath } from "../../../../agent/host/local-prefixes.ts";
import { RTN_BLACKHOLE, RTN_UNICAST, RTN_UNREACHABLE } from "../../../../backends/netlink/route.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";
import { describeLocal, LocalPrefixes } from "../../../../ipam/addresses/local-prefixes.ts";

const link = (index: number, name: string, type = ""): HostLink => ({
  index,
  name,
  type,
  mac: null,
  mtuBytes: 1500,
  flags: 1,
  masterIndex: null,
});
const address = (interfaceIndex: number, text: string, length: number) => ({
  interfaceIndex,
  address: Address.parse(text),
  length,
  scope: 0,
  flags: 0,
});
const route = (
  text: string,
  outputIndex: number | null,
  protocol = 3,
  gateway: string | null = null,
  type = RTN_UNICAST,
) => ({
  destination: Prefix.parse(text),
  type,
  outputIndex,
  protocol,
  gateway: gateway === null ? null : Address.parse(gateway),
});

function host(changes: Partial<HostSnapshot>): HostSnapshot {
  const links = [link(1, "lo"), link(2, "eth0"), link(3, "docker0", "bridge"), link(4, "flannel.1", "vxlan")];
  return { links, addresses: [], routes: [], defaultRoutes: {}, routeTo: () => null, ...changes };
}
const found = (changes: Partial<HostSnapshot>, store: readonly Address[] = []) =>
  localPrefixes(host(changes), store).map((local) => `${local.kind} ${describeLocal(local)}`);

describe("what a host reaches without the overlay", () => {
  it("is its addresses and their links, without loopback, link-local and the tunnel", () => {
    const addresses = [
      address(1, "127.0.0.1", 8),
      address(2, "192.168.1.2", 24),
      address(2, "fe80::2", 64),
      address(4, "10.2.1.0", 32),
    ];
    expect(found({ addresses })).toEqual(["address 192.168.1.2 (eth0)", "link 192.168.1.0/24 (eth0)"]);
  });

  it("is its routes, with their gateways, without default routes, multicast, what discards packets and an overlay", () => {
    const routes = [
      route("0.0.0.0/0", 2, 3, "192.168.1.1"),
      route("10.9.0.0/16", 2, 3, "192.168.1.1"),
      route("10.2.5.0/24", 4),
      route("10.2.6.0/24", 2, 116, "192.168.1.6"),
      route("ff00::/8", 2),
      route("10.2.7.0/24", null, 3, null, RTN_BLACKHOLE),
      route("10.2.8.0/24", null, 3, null, RTN_UNREACHABLE),
      route("172.16.0.0/12", null),
    ];
    expect(found({ routes })).toEqual([
      "gateway 192.168.1.1 (a gateway on eth0)",
      "route 10.9.0.0/16 (a route by eth0)",
      "gateway 192.168.1.1 (a gateway on eth0)",
      "route 172.16.0.0/12 (a route)",
    ]);
  });

  it("is the store, where its address is known", () => {
    expect(found({}, [Address.parse("10.2.3.4")])).toEqual(["store 10.2.3.4 (the lease store)"]);
  });

  it("is not what is in a VRF", () => {
    const links = [link(5, "blue", "vrf"), { ...link(6, "eth6"), masterIndex: 5 }];
    expect(found({ links, addresses: [address(6, "10.2.9.1", 24)] })).toEqual([]);
  });

  it("may be a bridge of containers", () => {
    const found = localPrefixes(host({ addresses: [address(3, "10.2.1.1", 24)] }), []);
    const bridge = { origin: "docker0", mayBeContainers: true };
    expect(found).toMatchObject([
      { ...bridge, kind: "address" },
      { ...bridge, kind: "link" },
    ]);
  });

  it.each<[string, string, string, number, boolean]>([
    ["a dummy with the first address", "dummy", "10.2.1.1", 24, true],
    ["a port of Open vSwitch with the first address", "openvswitch", "10.2.1.1", 24, true],
    ["a tap with another address", "tun", "10.2.1.2", 24, false],
    ["a card with the first address", "", "10.2.1.1", 24, false],
    ["a VLAN with the first address", "vlan", "10.2.1.1", 24, false],
  ])("may have the gateway of containers: %s", (_, type, text, length, hasGateway) => {
    const snapshot = host({
      links: [link(9, "dev9", type)],
      addresses: [address(9, text, length)],
      routes: [route("10.2.1.0/24", 9, 2), route("10.2.9.0/24", 9)],
    });
    const own = { 4: Prefix.parse("10.2.1.0/24") };
    const all = localPrefixes(snapshot, []).filter(({ kind }) => kind !== "address");
    expect(all.map((local) => [`${local.prefix}`, local.hasGateway])).toEqual([
      ["10.2.1.0/24", hasGateway],
      ["10.2.1.0/24", hasGateway],
      ["10.2.9.0/24", false],
    ]);
    expect(new LocalPrefixes(all, []).overlappingOwn(own) === null).toBe(hasGateway);
  });

  it("is a device with a default route's router, although it has the first address", () => {
    const found = localPrefixes(
      host({
        links: [link(9, "macvlan0", "macvlan")],
        addresses: [address(9, "10.2.1.1", 24)],
        routes: [route("0.0.0.0/0", 9, 3, "10.2.1.254")],
      }),
      [],
    );
    expect(found.some(({ hasGateway }) => hasGateway)).toBe(false);
  });

  describe.each<[string, Partial<HostSnapshot>, boolean]>([
    ["the default route's router", { routes: [route("0.0.0.0/0", 3, 3, "10.2.1.254")] }, false],
    ["a default route without a router", { routes: [route("0.0.0.0/0", 3)] }, true],
    ["the router to the store", { routes: [route("203.0.113.0/24", 3, 3, "10.2.1.254")] }, false],
    ["a card and the store", { links: [...host({}).links, { ...link(7, "ens1"), masterIndex: 3 }] }, false],
    [
      "a container and the store",
      { links: [...host({}).links, { ...link(7, "v1", "veth"), masterIndex: 3 }] },
      true,
    ],
  ])("a bridge with %s", (_, changes, expected) => {
    it(`${expected ? "may be" : "is not"} the containers'`, () => {
      const store = Address.parse("203.0.113.9");
      const routeTo = (target: Address) =>
        target.equals(store) ? { interfaceIndex: 3, source: null } : null;
      const found = localPrefixes(host({ addresses: [address(3, "10.2.1.1", 24)], routeTo, ...changes }), [
        store,
      ]);
      const bridge = found.filter(({ origin }) => origin === "docker0");
      expect(bridge.map(({ mayBeContainers }) => mayBeContainers)).toEqual([expected, expected]);
    });
  });
});

it("leaves out by what other programs carry the network's packets, and keeps the LAN", () => {
  const snapshot = host({
    addresses: [address(5, "10.2.1.0", 32), address(2, "10.2.200.2", 24), address(5, "10.9.0.1", 24)],
    routes: [
      route("10.2.3.0/24", 5, 3, "10.2.3.0"),
      route("10.2.4.0/24", 2, 3, "10.2.200.4"),
      route("10.2.200.0/24", 2, 2),
      route("10.2.0.0/16", 5),
      route("10.0.0.0/8", 2, 3, "10.2.200.1"),
    ],
  });
  const { addresses, routes } = withoutDataPath(snapshot, [Prefix.parse("10.2.0.0/16")], new Set([2]));
  expect(addresses.map((each) => each.address.toString())).toEqual(["10.2.200.2", "10.9.0.1"]);
  expect(routes.map(({ destination }) => destination.toString())).toEqual([
    "10.2.200.0/24",
    "10.2.0.0/16",
    "10.0.0.0/8",
  ]);
});
