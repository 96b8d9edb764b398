/** The choice of the interface and its address, rule by rule, and what a running daemon does about changes. */

import { describe, expect, it } from "vitest";
import type { InterfaceSettings } from "../../../../agent/config/config.ts";
import {
  type ChoiceRequest,
  type ChosenInterfaces,
  chooseInterfaces,
} from "../../../../agent/host/choose-interface.ts";
import type { HostAddress, HostLink, HostSnapshot } from "../../../../agent/host/host-snapshot.ts";
import { RTN_UNICAST } from "../../../../backends/netlink/route.ts";
import { Address, type Family, Prefix } from "../../../../ipam/addresses/ip.ts";

const at = (text: string) => Address.parse(text);
const PERMANENT = 0x80;
const DEPRECATED = 0x20;
const SECONDARY = 0x01;
const none: InterfaceSettings = { interfaces: [], patterns: [], canReach: null, publicAddress: {} };
const network = Prefix.parse("10.2.0.0/16");
const plan = { 4: { network, subnetLength: 24, subnetMin: at("10.2.1.0"), subnetMax: at("10.2.255.0") } };

const link = (index: number, name: string, changes: Partial<HostLink> = {}): HostLink => ({
  index,
  name,
  type: "",
  mac: null,
  mtuBytes: 1500,
  flags: 1,
  masterIndex: null,
  ...changes,
});

/** `text` is an address, with a prefix length unless that is 24 or 64. */
const on = (interfaceIndex: number, text: string, scope = 0, flags = PERMANENT): HostAddress => {
  const [address = "", length] = text.split("/");
  return {
    interfaceIndex,
    address: at(address),
    length: Number(length ?? (at(address).family === 4 ? 24 : 64)),
    scope,
    flags,
  };
};

const via = (interfaceIndex: number, source: string | null = null) => ({
  interfaceIndex,
  source: source === null ? null : at(source),
});

/** lo, eth0 (192.168.1.2, default route), eth1 (10.0.0.2, fd00::2), down0 (no address), flat0 (MTU 0). */
function host(changes: Partial<HostSnapshot> = {}): HostSnapshot {
  const eth1Net = Prefix.parse("10.0.0.0/8");
  return {
    links: [
      link(1, "lo", { flags: 9, mtuBytes: 65_536 }),
      link(2, "eth0"),
      link(3, "eth1"),
      link(4, "down0"),
      link(5, "flat0", { mtuBytes: 0 }),
    ],
    routes: [],
    addresses: [
      on(1, "127.0.0.1", 254),
      on(2, "192.168.1.2"),
      on(3, "169.254.0.9", 253),
      on(3, "10.0.0.2"),
      on(3, "10.0.0.3", 0, PERMANENT | SECONDARY),
      on(3, "fd00::9", 0, PERMANENT | DEPRECATED),
      on(3, "fe80::1", 253),
      on(3, "fd00::2"),
      on(5, "172.16.0.1"),
    ],
    defaultRoutes: { 4: [via(2)] },
    routeTo: (target) =>
      eth1Net.contains(target) ? via(3, "10.0.0.3") : via(target.isLoopback ? 1 : 2, "192.168.1.2"),
    ...changes,
  };
}

/** The host with more devices and addresses. */
function hostWith(
  links: readonly HostLink[],
  addresses: readonly HostAddress[],
  changes: Partial<HostSnapshot> = {},
): HostSnapshot {
  const before = host();
  return host({
    links: [...before.links, ...links],
    addresses: [...before.addresses, ...addresses],
    ...changes,
  });
}

const shortOf = (chosen: ChosenInterfaces) => {
  const names = new Set(Object.values(chosen).map(({ link }) => link.name));
  return [...names, ...Object.values(chosen).map(({ address }) => address)].join(" ");
};

function choose(
  settings: Partial<InterfaceSettings>,
  snapshot = host(),
  store: Address | null = null,
  families: Family[] = [4],
  more: Partial<ChoiceRequest> = {},
) {
  const chosen = chooseInterfaces(snapshot, {
    settings: { ...none, ...settings },
    families,
    store,
    containers: { plan, subnets: [Prefix.parse("10.2.7.0/24")] },
    leaseAddresses: [],
    present: null,
    ...more,
  });
  const [first] = Object.values(chosen);
  if (first === undefined) throw new Error("no interface was chosen");
  return { ...chosen, ...first, short: shortOf(chosen) };
}

describe("which interface", () => {
  it.each<[string, Partial<InterfaceSettings>, string, string]>([
    ["a name", { interfaces: ["eth1"] }, "eth1 10.0.0.2", "-iface=eth1 names it"],
    [
      "an address, which is then used",
      { interfaces: ["10.0.0.3"] },
      "eth1 10.0.0.3",
      "it has the address of",
    ],
    ["the first that exists", { interfaces: ["wlan0", "eth1", "eth0"] }, "eth1 10.0.0.2", "eth1"],
    ["the next when one has no address", { interfaces: ["down0", "eth1"] }, "eth1 10.0.0.2", "eth1"],
    ["a regex on addresses before names", { patterns: [/^192|eth1/] }, "eth0 192.168.1.2", "its address"],
    ["a regex on names", { patterns: [/^eth1$/] }, "eth1 10.0.0.2", "its name matches"],
    ["iface before regex", { interfaces: ["eth1"], patterns: [/eth0/] }, "eth1 10.0.0.2", "-iface=eth1"],
    ["regex when no iface fits", { interfaces: ["x"], patterns: [/eth0/] }, "eth0 192.168.1.2", "regex"],
    ["the route to an address", { canReach: at("10.9.9.9") }, "eth1 10.0.0.3", "-iface-can-reach=10.9.9.9"],
    ["the owner of public-ip", { publicAddress: { 4: at("10.0.0.2") } }, "eth1 10.0.0.2", "public address"],
    ["the default route", {}, "eth0 192.168.1.2", "the IPv4 default route leaves by it"],
  ])("%s", (_what, settings, short, reason) => {
    const chosen = choose(settings);
    expect(chosen.short).toBe(short);
    expect(chosen.reason).toContain(reason);
  });

  it("the route to the store only without a default route", () => {
    expect(choose({}, host(), at("10.0.0.99")).short).toBe("eth0 192.168.1.2");
    expect(choose({}, host({ defaultRoutes: {} }), at("10.0.0.99"))).toMatchObject({
      short: "eth1 10.0.0.3",
      reason: expect.stringContaining("there is no usable default route"),
      warnings: [],
    });
  });

  it("warns when the store is reached by another interface", () => {
    expect(choose({}, host(), at("10.0.0.99")).warnings).toEqual([
      expect.stringContaining("give -iface=eth1"),
    ]);
    expect(choose({}, host(), at("192.168.1.9")).warnings).toEqual([]);
    expect(choose({}, host(), at("127.0.0.1")).warnings).toEqual([]);
  });

  it("advertises public-ip without asking who has it", () => {
    const chosen = choose({ publicAddress: { 4: at("203.0.113.1") } });
    expect(chosen.short).toBe("eth0 192.168.1.2");
    expect(`${chosen.publicAddress}`).toBe("203.0.113.1");
  });

  it("needs an address in every family, and passes over deprecated ones", () => {
    expect(choose({ interfaces: ["eth0", "eth1"] }, host(), null, [4, 6]).short).toBe(
      "eth0 eth1 192.168.1.2 fd00::2",
    );
  });
});

describe("each family", () => {
  const TENTATIVE = 0x40;
  const DADFAILED = 0x08;
  const TEMPORARY = 0x01;
  const dual = (v6: readonly HostAddress[], changes: Partial<HostSnapshot> = {}) =>
    host({ addresses: [on(2, "192.168.1.2"), ...v6], ...changes });
  const both = (snapshot: HostSnapshot, settings: Partial<InterfaceSettings> = {}) =>
    choose(settings, snapshot, null, [4, 6]);

  it("goes by its own default route", () => {
    const snapshot = dual([on(2, "fd00::2"), on(3, "2001:db8::3")], {
      defaultRoutes: { 4: [via(2)], 6: [via(3)] },
    });
    expect(both(snapshot).short).toBe("eth0 eth1 192.168.1.2 2001:db8::3");
    expect(both(snapshot)[6]?.reason).toBe("the IPv6 default route leaves by it");
  });

  it("goes by the other family's interface when it has no default route", () => {
    const chosen = both(dual([on(2, "fd00::2"), on(3, "fd00::3")]));
    expect(chosen.short).toBe("eth0 192.168.1.2 fd00::2");
    expect(chosen[6]?.reason).toBe("the IPv4 tunnel leaves by it");
  });

  it("has its own public address", () => {
    const publicAddress = { 4: at("192.168.1.2"), 6: at("fd00::3") };
    const chosen = both(dual([on(2, "fd00::2"), on(3, "fd00::3")]), { publicAddress });
    expect(chosen.short).toBe("eth0 eth1 192.168.1.2 fd00::3");
  });

  it.each(["fd00:0:0::3", "FD00::0003"])("is named by any spelling of its address: %s", (text) => {
    const snapshot = dual([on(2, "fd00::2"), on(3, "fd00::3")]);
    expect(choose({ interfaces: [text] }, snapshot, null, [6]).short).toBe("eth1 fd00::3");
  });

  it("prefers addresses that last to temporary ones, and takes no tentative one", () => {
    const temporary = on(2, "2001:db8::7777", 0, TEMPORARY);
    const tentative = on(2, "2001:db8::1", 0, TENTATIVE | PERMANENT);
    expect(both(dual([temporary, tentative, on(2, "fd00::2")])).short).toBe("eth0 192.168.1.2 fd00::2");
    expect(both(dual([temporary, tentative])).short).toBe("eth0 192.168.1.2 2001:db8::7777");
  });

  it.each<[string, readonly HostAddress[], string]>([
    ["none", [], "eth0 has no IPv6 address"],
    ["link-local ones", [on(2, "fe80::1", 253)], "eth0 has only link-local IPv6 addresses: give it a global"],
    [
      "tentative ones",
      [on(2, "fe80::1", 253), on(2, "fd00::2", 0, TENTATIVE)],
      "eth0 has an IPv6 address that is still being checked for duplicates",
    ],
    [
      "one that another host has",
      [on(2, "fd00::2", 0, TENTATIVE | DADFAILED)],
      "eth0 has an IPv6 address that another host on the link has too",
    ],
  ])("is missed by name where the interface has %s", (_what, addresses, message) => {
    expect(() => both(dual(addresses))).toThrow(
      expect.objectContaining({ code: "TULLE_INTERFACE", message: expect.stringContaining(message) }),
    );
  });

  it("stays with its own interface while that is sound", () => {
    const before = dual([on(2, "fd00::2"), on(3, "fd00::3")], {
      defaultRoutes: { 4: [via(2)], 6: [via(3)] },
    });
    const present = both(before);
    const after = { ...before, defaultRoutes: { 4: [via(3)], 6: [via(2)] } };
    expect(choose({}, after, null, [4, 6], { present }).short).toBe("eth0 eth1 192.168.1.2 fd00::3");
  });
});

describe("no interface", () => {
  it.each<[string, Partial<InterfaceSettings>, string]>([
    ["unknown", { interfaces: ["wlan0"] }, "matches -iface=wlan0; give -iface one of: eth0 192.168.1.2"],
    ["without address", { interfaces: ["down0"] }, "down0 has no IPv4 address"],
    ["MTU 0", { interfaces: ["flat0"] }, "flat0 has an MTU of 0"],
    ["loopback by name", { interfaces: ["lo"] }, "lo is the loopback"],
    ["loopback by address", { interfaces: ["127.0.0.1"] }, "no usable interface"],
    ["loopback by route", { canReach: at("127.0.0.1") }, "lo is the loopback"],
  ])("%s", (_what, settings, message) => {
    expect(() => choose(settings)).toThrow(
      expect.objectContaining({ code: "TULLE_INTERFACE", message: expect.stringContaining(message) }),
    );
  });

  it("no default route and no store, or one on this host", () => {
    for (const store of [null, at("127.0.0.1")])
      expect(() => choose({}, host({ defaultRoutes: {} }), store)).toThrow(
        "no usable interface has an IPv4 default route; give -iface one of: ",
      );
  });

  it("names those that would do, and no others", () => {
    const snapshot = hostWith(OWN_DEVICES, OWN_ADDRESSES);
    expect(() => choose({ interfaces: ["wlan0"] }, snapshot)).toThrow(
      /give -iface one of: eth0 192\.168\.1\.2, eth1 10\.0\.0\.2$/,
    );
    expect(() => choose({ interfaces: ["wlan0"] }, host({ addresses: [] }))).toThrow(
      /no interface has a usable address: give one an address first$/,
    );
  });
});

const OWN_DEVICES = [
  link(9, "flannel.1", { type: "vxlan" }),
  link(10, "docker0", { type: "bridge" }),
  link(11, "cni0", { type: "bridge" }),
  link(12, "veth1", { type: "veth", masterIndex: 11 }),
  link(13, "veth2", { type: "veth" }),
  link(14, "flannel-v6.1", { type: "vxlan" }),
];
const OWN_ADDRESSES = [
  on(9, "10.2.7.0/32"),
  on(10, "10.2.7.1"),
  // Of a subnet that this host had before.
  on(11, "10.2.9.1"),
  on(12, "169.254.7.7/16"),
  on(13, "10.2.7.1/32"),
  on(14, "fd00:2::"),
];

describe("a device of ours is never a candidate", () => {
  const snapshot = hostWith(OWN_DEVICES, OWN_ADDRESSES, {
    defaultRoutes: { 4: [9, 10, 12, 13].map((index) => via(index, "10.2.7.0")) },
    routeTo: (target) => (target.toString().startsWith("192.168.1.") ? via(2) : via(9, "10.2.7.0")),
  });

  it.each<[string, Partial<InterfaceSettings>]>([
    ["-iface names it", { interfaces: ["flannel.1", "docker0", "cni0", "veth1", "veth2"] }],
    ["-iface has its address", { interfaces: ["10.2.7.0", "10.2.7.1", "10.2.9.1", "169.254.7.7"] }],
    ["-iface-regex matches its address", { patterns: [/^10\.2\./] }],
    ["-iface-regex matches its name", { patterns: [/^(flannel|docker|cni|veth)/] }],
    ["-iface-can-reach goes through it", { canReach: at("203.0.113.1") }],
    ["it has the public address", { publicAddress: { 4: at("10.2.7.1") } }],
    ["default routes leave by it", {}],
  ])("although %s", (_what, settings) => {
    expect(() => choose(settings, snapshot, at("203.0.113.9"))).toThrow(
      expect.objectContaining({ code: "TULLE_INTERFACE", retryable: true }),
    );
  });

  it("and the next one is taken", () => {
    const dhcpcd = hostWith(OWN_DEVICES, OWN_ADDRESSES, {
      defaultRoutes: { 4: [via(9, "10.2.7.0"), via(2)] },
    });
    expect(choose({}, dhcpcd).short).toBe("eth0 192.168.1.2");
    expect(choose({ patterns: [/^10\./] }, dhcpcd).short).toBe("eth1 10.0.0.2");
    expect(choose({}, snapshot, at("192.168.1.9")).short).toBe("eth0 192.168.1.2");
  });

  it("while a bridge, a bond and a VRF with an address of the LAN are candidates", () => {
    const uplinks = hostWith(
      [
        link(20, "br0", { type: "bridge" }),
        link(21, "ens1", { masterIndex: 20 }),
        link(22, "vrf1", { type: "vrf" }),
        link(23, "ens2", { masterIndex: 22 }),
      ],
      [on(20, "192.0.2.2"), on(21, "192.0.2.3"), on(23, "198.51.100.2")],
    );
    expect(choose({ interfaces: ["ens1", "br0"] }, uplinks).short).toBe("br0 192.0.2.2");
    expect(choose({ interfaces: ["ens2"] }, uplinks).short).toBe("ens2 198.51.100.2");
    expect(() => choose({ interfaces: ["ens1"] }, uplinks)).toThrow("(ens1 is a port of br0)");
  });
});

describe("a bridge that leads out of this host", () => {
  /** The LAN is what this host's subnet was before. */
  const lan = [link(20, "br0", { type: "bridge" }), link(21, "ens1", { masterIndex: 20 })];
  const route = { type: RTN_UNICAST, outputIndex: 20, protocol: 3 };
  const byDefault = { ...route, destination: Prefix.parse("0.0.0.0/0"), gateway: at("10.2.9.254") };

  it.each(["10.2.9.1", "10.2.7.1"])("carries the tunnel by the default route, with %s", (address) => {
    const snapshot = hostWith(lan, [on(20, address)], {
      routes: [byDefault],
      defaultRoutes: { 4: [via(20)] },
    });
    expect(choose({}, snapshot).short).toBe(`br0 ${address}`);
    expect(choose({ interfaces: ["br0"] }, snapshot).short).toBe(`br0 ${address}`);
  });

  it("carries the tunnel by the route to the store", () => {
    const store = at("10.2.9.5");
    const containers = { plan, subnets: [], stores: [store] };
    const snapshot = hostWith(lan, [on(20, "10.2.9.1")], { defaultRoutes: {}, routeTo: () => via(20) });
    expect(choose({}, snapshot, store, [4], { containers }).short).toBe("br0 10.2.9.1");
    const behindVeth = hostWith(
      [link(20, "cni0", { type: "bridge" }), link(21, "veth1", { type: "veth", masterIndex: 20 })],
      [on(20, "10.2.9.1")],
      { defaultRoutes: {}, routeTo: () => via(20) },
    );
    expect(() => choose({}, behindVeth, store, [4], { containers })).toThrow("of this host's own containers");
  });
});

describe("which address", () => {
  const DHCP = on(2, "192.168.1.20", 0, 0);
  const vips = [
    on(2, "192.168.1.100/32"),
    on(2, "192.168.1.101", 0, PERMANENT | SECONDARY),
    on(2, "192.168.1.102", 0, PERMANENT | DEPRECATED),
    on(2, "10.9.9.9/24"),
  ];
  const withVips = (...first: HostAddress[]) => host({ addresses: [...first, ...vips] });

  it.each<[string, HostSnapshot]>([
    ["before the virtual addresses", withVips(DHCP)],
    ["after them", host({ addresses: [...vips, DHCP], defaultRoutes: { 4: [via(2, "192.168.1.20")] } })],
  ])("the DHCP address at a start, %s", (_, snapshot) => {
    expect(choose({}, snapshot).short).toBe("eth0 192.168.1.20");
    expect(choose({ interfaces: ["eth0"] }, snapshot).short).toBe("eth0 192.168.1.20");
  });

  it("the lease's own at a start, when the interface has it", () => {
    const second = on(2, "192.168.1.21", 0, SECONDARY);
    const withLease = (address: string) =>
      choose({}, withVips(DHCP, second), null, [4], { leaseAddresses: [at("203.0.113.5"), at(address)] })
        .short;
    expect(withLease("192.168.1.21")).toBe("eth0 192.168.1.21");
    expect(withLease("10.0.0.2")).toBe("eth0 192.168.1.20");
  });

  it.each(vips.map((vip) => [`${vip.address}/${vip.length}`, vip] as const))(
    "the present one when %s comes, and when it has become the only sound one",
    (_, vip) => {
      const present = choose({}, withVips(DHCP));
      for (const settings of [{}, { interfaces: ["eth0"] }, { patterns: [/192\.168/] }]) {
        const stays = host({ addresses: [vip, DHCP], defaultRoutes: { 4: [via(2, String(vip.address))] } });
        expect(choose(settings, stays, null, [4], { present }).short).toBe("eth0 192.168.1.20");
      }
      const expired = host({ addresses: [vip, { ...DHCP, flags: DEPRECATED }] });
      expect(choose({}, expired, null, [4], { present }).short).toBe("eth0 192.168.1.20");
    },
  );

  it("the new one after a DHCP renewal with another address", () => {
    const present = choose({}, host({ addresses: [DHCP] }));
    const renewed = host({ addresses: [on(2, "192.168.1.30", 0, 0), ...vips] });
    expect(choose({}, renewed, null, [4], { present }).short).toBe("eth0 192.168.1.30");
  });

  it("is told from a virtual one, which has no network", () => {
    const present = choose({}, withVips(DHCP));
    expect(present.hasNetwork).toBe(true);
    const released = host({ addresses: vips.slice(0, 1) });
    const left = choose({}, released, null, [4], { present });
    expect(left).toMatchObject({ short: "eth0 192.168.1.100", hasNetwork: false });
  });

  it("a link-local one last, whatever its scope", () => {
    const addresses = [on(2, "169.254.3.3/16"), DHCP];
    expect(choose({}, host({ addresses })).short).toBe("eth0 192.168.1.20");
    expect(choose({}, host({ addresses: addresses.slice(0, 1) })).short).toBe("eth0 169.254.3.3");
  });

  it("another one than a link-local address or a deprecated IPv6 address, as soon as there is one", () => {
    const before = host({ addresses: [on(2, "169.254.3.3/16", 253), on(2, "fd00::1")] });
    const present = choose({}, before, null, [4, 6]);
    expect(present.short).toBe("eth0 169.254.3.3 fd00::1");
    const after = host({
      addresses: [...before.addresses.slice(0, 1), DHCP, on(2, "fd00::1", 0, DEPRECATED), on(2, "fd00::5")],
    });
    expect(choose({}, after, null, [4, 6], { present }).short).toBe("eth0 192.168.1.20 fd00::5");
  });
});

describe("a running daemon", () => {
  const present = choose({});
  const next = (
    settings: Partial<InterfaceSettings>,
    snapshot: HostSnapshot,
    more: { store?: Address; present?: ChosenInterfaces } = {},
  ) => choose(settings, snapshot, more.store ?? null, [4], { present: more.present ?? present }).short;
  const addresses = host().addresses;

  it("stays while its interface is sound, wherever the default route goes", () => {
    expect(next({}, host({ defaultRoutes: { 4: [via(3)] } }))).toBe("eth0 192.168.1.2");
    expect(next({}, host({ defaultRoutes: {} }))).toBe("eth0 192.168.1.2");
    expect(next({}, host({ defaultRoutes: {} }), { store: at("10.0.0.99") })).toBe("eth0 192.168.1.2");
    const viaTunnel = hostWith(OWN_DEVICES, OWN_ADDRESSES, { defaultRoutes: { 4: [via(9), via(3)] } });
    expect(next({}, viaTunnel)).toBe("eth0 192.168.1.2");
  });

  it("moves when a better rule than the one that chose finds an interface", () => {
    const poor = choose({}, host({ defaultRoutes: {} }), at("10.0.0.99"));
    expect(poor.short).toBe("eth1 10.0.0.3");
    expect(next({}, host(), { store: at("10.0.0.99"), present: poor })).toBe("eth0 192.168.1.2");

    const interfaces = ["ens9", "eth0"];
    const second = choose({ interfaces });
    const plugged = hostWith([link(30, "ens9")], [on(30, "192.0.2.9")]);
    expect(next({ interfaces }, plugged, { present: second })).toBe("ens9 192.0.2.9");

    const publicAddress = { 4: at("203.0.113.7") };
    const behindNat = choose({ publicAddress });
    expect(next({ publicAddress }, hostWith([], [on(3, "203.0.113.7")]), { present: behindNat })).toBe(
      "eth1 203.0.113.7",
    );
  });

  describe("returns from a substitute to the interface that had lost its address", () => {
    const two = { defaultRoutes: { 4: [via(2), via(3)] } };
    const without = addresses.filter(({ interfaceIndex }) => interfaceIndex !== 2);
    const lost = host({ addresses: without, defaultRoutes: { 4: [via(3)] } });

    it.each<[string, Partial<InterfaceSettings>]>([
      ["the default route", {}],
      ["one pattern for both", { patterns: [/^eth/] }],
    ])("by %s", (_, settings) => {
      const substitute = choose(settings, lost, null, [4], { present: choose(settings, host(two)) });
      expect(substitute).toMatchObject({ short: "eth1 10.0.0.2", insteadOf: "eth0" });
      const again = choose(settings, lost, null, [4], { present: substitute });
      expect(again).toMatchObject({ short: "eth1 10.0.0.2", insteadOf: "eth0" });
      const back = choose(settings, host(two), null, [4], { present: again });
      expect(back).toMatchObject({ short: "eth0 192.168.1.2", insteadOf: null });
    });

    it("also when it comes back as another card, or with another address", () => {
      const gone = { ...lost, links: host().links.filter(({ index }) => index !== 2) };
      const substitute = choose({}, gone, null, [4], { present: choose({}, host(two)) });
      const card = host({
        links: [...gone.links, link(40, "eth0")],
        addresses: [...without, on(40, "192.168.1.77")],
        defaultRoutes: { 4: [via(40), via(3)] },
      });
      expect(next({}, card, { present: substitute })).toBe("eth0 192.168.1.77");
    });

    it("unless it comes last now, or the address had moved", () => {
      const substitute = choose({}, lost, null, [4], { present: choose({}, host(two)) });
      const turned = host({ defaultRoutes: { 4: [via(3), via(2)] } });
      expect(next({}, turned, { present: substitute })).toBe("eth1 10.0.0.2");
      const moved = host({ addresses: [on(3, "192.168.1.2")], defaultRoutes: { 4: [via(3)] } });
      expect(choose({}, moved, null, [4], { present }).insteadOf).toBeNull();
    });
  });

  it("moves away from a device of ours that an earlier version chose", () => {
    const wrong = { 4: { ...present, link: link(9, "flannel.1"), address: at("10.2.7.0") } };
    expect(next({}, hostWith(OWN_DEVICES, OWN_ADDRESSES), { present: wrong })).toBe("eth0 192.168.1.2");
  });

  const moved = addresses.filter(({ interfaceIndex }) => interfaceIndex !== 2);
  it.each<[string, readonly HostLink[], number, readonly HostAddress[]]>([
    ["a bridge", [link(2, "eth0", { masterIndex: 20 }), link(20, "br0", { type: "bridge" })], 20, moved],
    [
      "a bond, with the address left on the port",
      [link(2, "eth0", { masterIndex: 20 }), link(20, "bond0", { type: "bond" })],
      20,
      addresses,
    ],
    ["a card with another name", [link(21, "ens7")], 21, moved],
  ])("follows its address to %s", (_, links, index, rest) => {
    const others = host().links.filter((one) => one.index !== 2);
    const snapshot = host({
      links: [...others, ...links],
      addresses: [...rest, on(index, "192.168.1.2")],
      defaultRoutes: { 4: [via(index)] },
    });
    const expected = `${links.at(-1)?.name} 192.168.1.2`;
    expect(next({}, snapshot)).toBe(expected);
    expect(next({ interfaces: ["192.168.1.2"] }, snapshot)).toBe(expected);
    expect(next({ patterns: [/^192\.168\./] }, snapshot)).toBe(expected);
  });

  it("follows -iface=ADDRESS to another interface although its own has other addresses", () => {
    const interfaces = ["192.168.1.2"];
    const snapshot = host({ addresses: [...moved, on(2, "192.0.2.2"), on(3, "192.168.1.2")] });
    expect(next({ interfaces }, snapshot)).toBe("eth1 192.168.1.2");
  });

  it("names only rules that were given when nothing is left", () => {
    const gone = host({ links: host().links.filter(({ index }) => index !== 2), defaultRoutes: {} });
    expect(() => next({}, gone)).toThrow(
      /^no usable interface has an IPv4 default route; give -iface one of: eth1/,
    );
    expect(() => next({ canReach: at("192.0.2.1") }, gone)).toThrow(
      /^no usable interface is on the route to -iface-can-reach=192\.0\.2\.1;/,
    );
    const anywhere = { interfaces: ["192.168.1.2"] };
    expect(() => next(anywhere, gone)).toThrow(/^no usable interface matches -iface=192\.168\.1\.2;/);
  });
});

it("waits for what may come, not for what is not there by name", () => {
  const retryable = (settings: Partial<InterfaceSettings>, snapshot = host()) => {
    try {
      return choose(settings, snapshot).short;
    } catch (error) {
      return (error as { retryable: boolean }).retryable;
    }
  };
  expect(retryable({ interfaces: ["wlan0"] })).toBe(false);
  expect(retryable({ interfaces: ["down0"] })).toBe(true);
  expect(retryable({}, host({ defaultRoutes: {} }))).toBe(true);
});
