import { describe, expect, it } from "vitest";
import { describeDevice, type HostState, planCleanup } from "../../../../agent/cleanup/plan.ts";
import { derivedMac } from "../../../../agent/host/identity.ts";
import { runningInstances } from "../../../../agent/host/instance-lock.ts";
import type { LinkObject } from "../../../../backends/state/kinds/link.ts";
import type { KernelObject } from "../../../../backends/state/kinds/registry.ts";
import type { RouteObject } from "../../../../backends/state/kinds/route.ts";
import { Address, Prefix } from "../../../../ipam/addresses/ip.ts";
import { parseMac } from "../../../../ipam/addresses/mac.ts";

const OURS = parseMac("02:00:00:00:00:01");
const OTHER = parseMac("02:00:00:00:00:99");
const BOOT = 3;
const TULLE = 116;

function device(name: string, mac = OURS): LinkObject {
  const details = {
    type: "vxlan" as const,
    vni: 1,
    local: Address.parse("192.0.2.1"),
    parent: "eth0",
    port: 8472,
    learning: false,
    gbp: false,
  };
  return { kind: "link", name, type: "vxlan", mac, mtuBytes: 1450, isUp: true, details };
}

function route(destination: string, deviceName: string, protocol: number, gateway?: string): RouteObject {
  const prefix = Prefix.parse(destination);
  return {
    kind: "route",
    destination: prefix,
    device: deviceName,
    gateway: gateway === undefined ? prefix.base : Address.parse(gateway),
    isOnlink: gateway === undefined,
    protocol,
    metric: 0,
    viaNexthop: false,
    source: null,
  };
}

function host(objects: readonly KernelObject[], changes: Partial<HostState> = {}): HostState {
  return {
    identity: { nodeId: "0".repeat(32), deviceMacs: { "flannel.1": OURS } },
    networks: [Prefix.parse("10.2.0.0/16")],
    interfaces: new Set(),
    objects,
    flanneldPid: null,
    ...changes,
  };
}

describe("which device is ours", () => {
  const decide = (state: HostState) => {
    const { links, leftAlone } = planCleanup(state);
    return { removed: links.map(({ name }) => name), leftAlone: leftAlone.join("\n") };
  };

  it("one of a named network with the hardware address that the identity gives", () => {
    const own = device("tv-1001", derivedMac("0".repeat(32), "tv-1001"));
    const { removed, leftAlone } = decide(host([own, device("tb-1001", OTHER)], { flanneldPid: 7 }));
    expect(removed).toEqual(["tv-1001"]);
    expect(leftAlone).toContain(
      "tb-1001: its hardware address is not the one that this host's identity gives",
    );
  });

  it("one that the record knows", () => {
    expect(decide(host([device("flannel.1")]))).toEqual({ removed: ["flannel.1"], leftAlone: "" });
  });

  it("one in the record that was renamed", () => {
    expect(decide(host([device("old-tunnel")])).removed).toEqual(["old-tunnel"]);
  });

  it("one without a record that carries our routes", () => {
    const state = host([device("flannel.1", OTHER), route("10.2.54.0/24", "flannel.1", TULLE)], {
      identity: null,
    });
    expect(decide(state).removed).toEqual(["flannel.1"]);
  });

  it.each<[string, HostState, RegExp]>([
    ["another program's", host([device("flannel.1", OTHER)]), /another program made it/],
    [
      "flanneld's",
      host([device("flannel.1", OTHER), route("10.2.54.0/24", "flannel.1", BOOT)]),
      /another program made it/,
    ],
    [
      "ours that flanneld took over",
      host([device("flannel.1"), route("10.2.54.0/24", "flannel.1", BOOT)]),
      /taken it over/,
    ],
    ["ours while flanneld runs", host([device("flannel.1")], { flanneldPid: 77 }), /process 77/],
  ])("not %s", (_name, state, reason) => {
    const { removed, leftAlone } = decide(state);
    expect(removed).toEqual([]);
    expect(leftAlone).toMatch(reason);
  });

  it("a stranger's VXLAN device is not even mentioned", () => {
    expect(decide(host([device("vxlan42", OTHER)]))).toEqual({ removed: [], leftAlone: "" });
  });
});

describe("which routes are ours", () => {
  const marked = (destination: string, name: string) => route(destination, name, TULLE, "192.0.2.9");

  it("those on our device go with it", () => {
    const { links, others } = planCleanup(
      host([device("flannel.1"), route("10.2.54.0/24", "flannel.1", TULLE)]),
    );
    expect(links).toHaveLength(1);
    expect(others).toEqual([]);
  });

  it("direct ones inside the network", () => {
    const direct = marked("10.2.54.0/24", "eth0");
    expect(planCleanup(host([direct])).others).toEqual([direct]);
  });

  it("not those outside, nor any when the network is not known", () => {
    const stranger = marked("10.9.0.0/24", "eth0");
    expect(planCleanup(host([stranger]))).toMatchObject({
      others: [],
      leftAlone: [/outside the network/].map((text) => expect.stringMatching(text)),
    });
    expect(planCleanup(host([marked("10.2.54.0/24", "eth0")], { networks: [] })).others).toEqual([]);
  });

  it("leftovers on a device that flanneld took over, and nexthops beside them", () => {
    const left = route("10.2.54.0/24", "flannel.1", TULLE);
    const nexthop = {
      kind: "nexthop",
      device: "flannel.1",
      gateway: Address.parse("10.2.54.0"),
      isOnlink: true,
      protocol: TULLE,
    } as const;
    const theirs = route("10.2.16.0/24", "flannel.1", BOOT);
    expect(planCleanup(host([device("flannel.1"), theirs, left, nexthop])).others).toEqual([left, nexthop]);
  });

  it("never an administrator's", () => {
    const routes = [
      route("10.2.54.0/24", "eth0", BOOT, "192.0.2.9"),
      route("10.2.55.0/24", "eth0", 4, "192.0.2.9"),
    ];
    expect(planCleanup(host(routes))).toMatchObject({ others: [], leftAlone: [] });
  });
});

describe("firewall and subnet file, whose names flanneld uses too", () => {
  it("are ours when tulled ran here and flanneld does not", () => {
    expect(planCleanup(host([])).ownsSharedNames).toBe(true);
    const unrecorded = host([device("flannel.1", OTHER), route("10.2.54.0/24", "flannel.1", TULLE)], {
      identity: null,
    });
    expect(planCleanup(unrecorded).ownsSharedNames).toBe(true);
  });

  it.each<[string, HostState, RegExp]>([
    ["tulled never ran here", host([], { identity: null }), /is --state-dir right/],
    ["flanneld runs", host([], { flanneldPid: 77 }), /process 77/],
    ["flanneld's routes are there", host([route("10.2.16.0/24", "flannel.1", BOOT)]), /routes of flanneld/],
  ])("are left alone when %s", (_name, state, reason) => {
    const { ownsSharedNames, leftAlone } = planCleanup(state);
    expect(ownsSharedNames).toBe(false);
    expect(leftAlone.at(-1)).toMatch(reason);
    expect(planCleanup(state).hasRun).toBe(state.identity !== null);
  });
});

it("a device is described with what goes with it", () => {
  const link = device("flannel.1");
  const objects = [
    link,
    route("10.2.54.0/24", "flannel.1", TULLE),
    route("10.2.55.0/24", "flannel.1", TULLE),
  ];
  expect(describeDevice(link, objects)).toMatch(/^link flannel\.1 .*\(and on it: route 2\)$/);
  expect(describeDevice(link, [link])).not.toContain("on it");
});

it("running daemons are read from the kernel's table of sockets", () => {
  const table = [
    "Num       RefCount Protocol Flags    Type St Inode Path",
    "0000: 00000002 00000000 00010000 0001 01 111 @tulle/flannel.1@@@@",
    "0000: 00000002 00000000 00010000 0001 01 115 @tulle/flannel.7",
    "0000: 00000002 00000000 00010000 0001 01 112 /run/tulle/tulled.sock",
    "0000: 00000002 00000000 00000000 0002 01 113",
    "0000: 00000002 00000000 00010000 0001 01 114 @other",
    "",
  ].join("\n");
  expect(runningInstances(table)).toEqual(["flannel.1", "flannel.7"]);
});
