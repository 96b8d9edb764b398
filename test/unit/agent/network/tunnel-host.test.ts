/** Which peers are reached without a router, by the addresses and routes of a host. */

import { expect, it } from "vitest";
import type { ChosenInterface } from "../../../../agent/host/choose-interface.ts";
import type { HostRoute, HostSnapshot } from "../../../../agent/host/host-snapshot.ts";
import { hostFactsOf } from "../../../../agent/network/tunnel-host.ts";
import { RTN_UNICAST } from "../../../../backends/netlink/route.ts";
import { isDirect } from "../../../../backends/peers.ts";
import { ROUTE_PROTOCOL } from "../../../../backends/state/contract/kind.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";

const ETH0 = 2;
const ETH1 = 3;
const own = Address.parse("192.168.1.2");
const link = { index: ETH0, name: "eth0", type: "", mac: null, mtuBytes: 1500, flags: 1, masterIndex: null };
const chosen: ChosenInterface = {
  ...{ link, address: own, publicAddress: own },
  ...{ hasNetwork: true, reason: "", rank: 0, insteadOf: null, warnings: [] },
};

function route(destination: string, changes: Partial<HostRoute> = {}): HostRoute {
  return {
    destination: Prefix.parse(destination),
    ...{ type: RTN_UNICAST, outputIndex: ETH0, gateway: null, protocol: 2 },
    ...changes,
  };
}
const router = { gateway: Address.parse("192.168.1.1") };

/** Whether packets to 192.168.1.7 need no router, with these routes in the order of the kernel's. */
function isNear(routes: readonly HostRoute[], length = 24): boolean {
  const host: HostSnapshot = {
    links: [link],
    addresses: [{ interfaceIndex: ETH0, address: own, length, scope: 0, flags: 0 }],
    ...{ routes, defaultRoutes: {}, routeTo: () => null },
  };
  return isDirect(hostFactsOf({ 4: chosen }, host, { families: {} }), Address.parse("192.168.1.7"));
}

const LINK = route("192.168.1.0/24");

it.each<[string, readonly HostRoute[], boolean]>([
  ["the link's own route", [LINK], true],
  ["no route at all, as while the link is down", [], true],
  ["the default route", [route("0.0.0.0/0", router), LINK], true],
  ["a route by a router in front of the link's", [route("192.168.1.0/24", router), LINK], false],
  ["one behind it", [LINK, route("192.168.1.0/24", router)], true],
  ["a route to a part of the link by a router", [route("192.168.1.4/30", router), LINK], false],
  ["a route to another part", [route("192.168.1.64/26", router), LINK], true],
  ["a part of the link on another interface", [route("192.168.1.0/25", { outputIndex: ETH1 }), LINK], false],
  ["a route of ours", [route("192.168.1.4/30", { ...router, protocol: ROUTE_PROTOCOL }), LINK], true],
])("with %s", (_, routes, isDirectly) => {
  expect(isNear(routes)).toBe(isDirectly);
});

it("knows the link of an address without a prefix, as DHCPv6 gives, by its route", () => {
  expect(isNear([LINK], 32)).toBe(true);
  expect(isNear([route("192.168.1.1/32"), route("0.0.0.0/0", router)], 32)).toBe(false);
  expect(isNear([route("192.168.1.0/24", router)], 32)).toBe(false);
  expect(isNear([route("192.168.1.0/24", { outputIndex: ETH1 })], 32)).toBe(false);
  expect(isNear([route("0.0.0.0/0")], 32)).toBe(false);
});
