import { expect, it } from "vitest";
import {
  fullRoutingCheck,
  type NetworkView,
  type PeerView,
  sampledRoutingCheck,
} from "../../../../agent/routing/peer-sample.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";

function network(count: number, changes: Partial<NetworkView> = {}): NetworkView {
  const peers = Array.from(
    { length: count },
    (_, index): PeerView => ({
      key: `peer${index}`,
      subnets: { 4: Prefix.of(Address.parse("10.0.0.0").plus(index * 256), 24) },
      publicAddresses: { 4: Address.parse("192.168.0.1").plus(index) },
      path: index % 2 === 0 ? "tunnel" : "direct",
    }),
  );
  const ownSubnets = { 4: Prefix.parse("10.99.3.0/24") };
  const sources = { 4: Address.parse("192.168.0.77") };
  return { interfaces: { 4: "eth0" }, sources, devices: ["flannel.1"], ownSubnets, peers, ...changes };
}

it("a full check takes every peer, with the device of its path", () => {
  const { peers, ownAddresses, withLongerRoutes } = fullRoutingCheck(network(100));
  expect(peers).toHaveLength(100);
  expect(peers.slice(0, 2).map(({ devices }) => devices)).toEqual([["flannel.1"], ["flannel.1", "eth0"]]);
  expect(peers.slice(0, 2).map(({ routers }) => routers?.map(String) ?? null)).toEqual([
    null,
    ["192.168.0.2"],
  ]);
  expect({ own: ownAddresses.map(String), withLongerRoutes }).toEqual({
    own: ["10.99.3.1"],
    withLongerRoutes: true,
  });
});

it("subnets are not checked while nothing is programmed", () => {
  expect(fullRoutingCheck(network(2, { devices: null })).peers.map(({ devices }) => devices)).toEqual([
    [],
    [],
  ]);
});

it("a subnet of a family that this host has none of is not checked", () => {
  const [v4, v6] = [Prefix.parse("10.0.0.0/24"), Prefix.parse("fd00:2:0:3::/64")];
  const peers: PeerView[] = network(1).peers.map((peer) => ({ ...peer, subnets: { 4: v4, 6: v6 } }));
  expect(fullRoutingCheck(network(1, { peers })).peers[0]?.subnets).toEqual([v4]);
  const ownSubnets = { 4: Prefix.parse("10.99.3.0/24"), 6: Prefix.parse("fd00:2:0:1::/64") };
  expect(fullRoutingCheck(network(1, { peers, ownSubnets })).peers[0]?.subnets).toEqual([v4, v6]);
});

it.each([
  [0, 0],
  [3, 3],
  [16, 16],
  [17, 16],
  [5000, 16],
])("of %i peers a status checks %i, all different", (count, expected) => {
  const { peers, withLongerRoutes } = sampledRoutingCheck(network(count));
  expect(new Set(peers.map(({ key }) => key)).size).toBe(expected);
  expect(withLongerRoutes).toBe(false);
});
