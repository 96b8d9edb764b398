import { describe, expect, it } from "vitest";
import {
  formatRule,
  type Lookup,
  longerRoutes,
  obstacleOf,
} from "../../../../agent/routing/route-judgement.ts";
import type { Route } from "../../../../backends/netlink/route.ts";
import type { Rule } from "../../../../backends/netlink/rule.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";

function rule(changes: Partial<Rule> = {}): Rule {
  return {
    ...{ family: 4, priority: 5270, action: 1, table: 52, source: null, destination: null },
    ...{ inputInterface: "", outputInterface: "", mark: 0, markMask: 0, hasOthers: false, isInverted: false },
    ...changes,
  };
}

function route(destination: string, changes: Partial<Route> = {}): Route {
  return {
    ...{
      destination: Prefix.parse(destination),
      table: 254,
      tos: 0,
      protocol: 3,
      type: 1,
      scope: 0,
      metric: 0,
    },
    ...{
      outputIndex: 2,
      gateway: null,
      isOnlink: false,
      nexthopId: null,
      source: null,
      hasExtras: false,
      flags: 0,
    },
    ...changes,
  };
}

function lookup(answer: Lookup["answer"], changes: Partial<Lookup> = {}): Lookup {
  return { address: Address.parse("10.2.3.1"), source: null, expected: ["flannel.1"], answer, ...changes };
}

const by = (device: string, found: Route): Lookup["answer"] => ({ type: "route", route: found, device });
const failed = (errnoName: string): Lookup["answer"] => ({ type: "error", errnoName });
const DEFAULTS = [rule({ priority: 0, table: 255 }), rule({ priority: 32766, table: 254 })];

describe("what is in the way of a packet", () => {
  it("nothing, where it leaves by the expected device, of any table", () => {
    const tables = { rules: [rule()], routes: [] };
    expect(obstacleOf(lookup(by("flannel.1", route("10.2.3.0/24"))), tables)).toBeNull();
    expect(obstacleOf(lookup(by("flannel.1", route("0.0.0.0/0", { table: 52 }))), tables)).toBeNull();
  });

  it.each<[string, Rule[], Lookup, string]>([
    [
      "a rule before main",
      [...DEFAULTS, rule()],
      lookup(by("tailscale0", route("10.2.0.0/16", { table: 52 }))),
      'leave by tailscale0, not flannel.1: rule "5270: from all lookup 52", route 10.2.0.0/16 of table 52',
    ],
    [
      "the first of several rules that selects it",
      [rule({ priority: 9 }), rule({ priority: 5, destination: Prefix.parse("10.9.0.0/16") })],
      lookup(by("eth1", route("0.0.0.0/0", { table: 52 }))),
      'leave by eth1, not flannel.1: rule "9: from all lookup 52", route 0.0.0.0/0 of table 52',
    ],
    [
      "a rule for a source",
      [rule({ source: Prefix.parse("10.2.0.0/16") })],
      lookup(by("eth1", route("0.0.0.0/0", { table: 52 })), { source: Address.parse("10.2.1.1") }),
      'leave by eth1, not flannel.1: rule "5270: from 10.2.0.0/16 lookup 52", route 0.0.0.0/0 of table 52',
    ],
    [
      "a longer route",
      DEFAULTS,
      lookup(by("eth1", route("10.2.3.0/25"))),
      "leave by eth1, not flannel.1: route 10.2.3.0/25 of table main",
    ],
    [
      "a route that discards, told by its type",
      DEFAULTS,
      lookup(by("lo", route("fd00::/64", { type: 7 }))),
      "match the unreachable route fd00::/64 of table main",
    ],
    ["no route at all", DEFAULTS, lookup(failed("ENETUNREACH")), "have no route (ENETUNREACH)"],
    [
      "a rule that discards",
      [...DEFAULTS, rule({ action: 8, priority: 100 })],
      lookup(failed("EACCES")),
      'are discarded: rule "100: from all prohibit"',
    ],
  ])("%s", (_name, rules, asked, expected) => {
    expect(obstacleOf(asked, { rules, routes: [] })).toBe(expected);
  });

  it.each<[string, Rule[], Route[], string, string]>([
    [
      "a discarding route of a table that no rule leads to, as a VRF has",
      [rule({ priority: 1_000, table: 0, hasOthers: true })],
      [route("0.0.0.0/0", { type: 7, table: 10 })],
      ...(["ENETUNREACH", "have no route (ENETUNREACH)"] as const),
    ],
    [
      "one of a table for other sources",
      [rule({ table: 10, source: Prefix.parse("172.16.0.0/12") })],
      [route("0.0.0.0/0", { type: 6, table: 10 })],
      ...(["ENETUNREACH", "have no route (ENETUNREACH)"] as const),
    ],
    [
      "a rule with selectors that are not decoded",
      [rule({ priority: 5, action: 8, hasOthers: true })],
      [],
      ...(["ENETUNREACH", "have no route (ENETUNREACH)"] as const),
    ],
    [
      "a rule of the other family",
      [rule({ priority: 5, action: 8, family: 6 })],
      [],
      ...(["ENETUNREACH", "have no route (ENETUNREACH)"] as const),
    ],
    [
      "a discarding route with a longer one beside it",
      [],
      [route("10.0.0.0/8", { type: 7 }), route("10.2.3.0/24")],
      ...(["EHOSTUNREACH", "have no route (EHOSTUNREACH)"] as const),
    ],
    [
      "a rule for sockets that are bound to a device",
      [rule({ priority: 5, action: 7, outputInterface: "wg0" })],
      [],
      ...(["ENETUNREACH", "have no route (ENETUNREACH)"] as const),
    ],
    ["what is prohibited for a reason that is not known", [], [], "EACCES", "are discarded (EACCES)"],
  ])("is not %s", (_name, more, routes, errnoName, expected) => {
    expect(obstacleOf(lookup(failed(errnoName)), { rules: [...DEFAULTS, ...more], routes })).toBe(expected);
  });

  it.each<[string, "10.2.3.1" | "fd00:2:3::1", string, string]>([
    ["10.2.3.0/24", "10.2.3.1", "0.0.0.0/0", "ip rule add lookup main priority 32766"],
    ["fd00:2:3::/64", "fd00:2:3::1", "::/0", "ip -6 rule add lookup main priority 32766"],
  ])("the rules that leave out table main, which has the route %s", (subnet, text, other, command) => {
    const address = Address.parse(text);
    const rules = [rule({ family: address.family, priority: 0, table: 255 })];
    const given = lookup(failed("ENETUNREACH"), { address });
    const routes = [route(other), route(subnet)];
    expect(obstacleOf(given, { rules, routes })).toBe(
      `do not take the route ${subnet} of table main: no policy rule leads to that table; "${command}" adds it`,
    );
    expect(obstacleOf(given, { rules, routes: [] })).toBe("have no route (ENETUNREACH)");
  });

  it("the longest discarding route that covers the address, where the kernel answers with an error", () => {
    const routes = [
      route("10.0.0.0/8", { type: 7 }),
      route("10.2.3.0/24", { type: 6 }),
      route("10.2.4.0/24", { type: 6 }),
    ];
    expect(obstacleOf(lookup(failed("EINVAL")), { rules: DEFAULTS, routes })).toBe(
      "are discarded: blackhole route 10.2.3.0/24 of table main",
    );
  });
});

it.each<[Partial<Rule>, string]>([
  [{}, "5270: from all lookup 52"],
  [{ table: 254, destination: Prefix.parse("10.0.0.0/8") }, "5270: from all to 10.0.0.0/8 lookup main"],
  [
    { isInverted: true, mark: 0x80000, markMask: 0xff0000 },
    "5270: not from all fwmark 0x80000/0xff0000 lookup 52",
  ],
  [
    { inputInterface: "eth0", outputInterface: "eth1", action: 6 },
    "5270: from all iif eth0 oif eth1 blackhole",
  ],
])("a rule is written as ip rule does", (changes, expected) => {
  expect(formatRule(rule(changes))).toBe(expected);
});

it("longer routes that lead elsewhere are found, and no others", () => {
  const subnets = [
    { subnet: Prefix.parse("10.2.3.0/24"), owner: "a", expected: ["flannel.1"], routers: null },
  ];
  const routes = [
    { route: route("10.2.3.128/25"), device: "eth1" },
    { route: route("10.2.3.7/32"), device: "flannel.1" },
    { route: route("10.2.3.9/32", { type: 6 }), device: "" },
    { route: route("10.2.3.0/24"), device: "eth1" },
    { route: route("10.2.4.0/25"), device: "eth1" },
    { route: route("10.2.3.0/25", { table: 52 }), device: "eth1" },
  ];
  expect(longerRoutes(subnets, routes).map(({ owner, text }) => `${owner} ${text}`)).toEqual([
    "a 10.2.3.128/25 dev eth1",
    "a 10.2.3.9/32",
  ]);
});

it("a longer route to a peer on the link leads elsewhere unless its next hop is the peer", () => {
  const [peer, other] = [Address.parse("192.168.50.12"), Address.parse("192.168.50.1")];
  const subnets = [{ subnet: Prefix.parse("10.2.3.0/24"), owner: "a", expected: ["eth0"], routers: [peer] }];
  const routes = [
    { route: route("10.2.3.64/26", { gateway: peer }), device: "eth0" },
    { route: route("10.2.3.128/26", { gateway: other }), device: "eth0" },
    { route: route("10.2.3.192/26"), device: "eth0" },
  ];
  expect(longerRoutes(subnets, routes).map(({ text }) => text)).toEqual([
    "10.2.3.128/26 via 192.168.50.1 dev eth0",
    "10.2.3.192/26 dev eth0",
  ]);
});
