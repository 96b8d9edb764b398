/** What a view of named networks becomes on one host, and how little a change costs. */

import { describe, expect, it } from "vitest";
import { isSegmentDevice, segmentDevices, segmentPortName } from "../../../../backends/segments/names.ts";
import { SegmentPlanner } from "../../../../backends/segments/planner.ts";
import type { SegmentFacts } from "../../../../backends/segments/segment.ts";
import type { KernelObject } from "../../../../backends/state/kinds/registry.ts";
import { Address, mapFamilies } from "../../../../ipam/addresses/ip.ts";
import { localMacFromSeed, type Mac } from "../../../../ipam/addresses/mac.ts";
import type { NamedNetwork } from "../../../../ipam/named-networks/named-network.ts";
import { renderState } from "../../../support/render-state.ts";
import { hostId, TestFeed, testMember, testNetwork } from "../../../support/segment-lab.ts";

const BLUE = testNetwork(1);
const FACTS: SegmentFacts = {
  host: hostId(1),
  uplinks: {
    4: {
      interface: "eth0",
      mtuBytes: 1500,
      address: Address.parse("10.99.0.1"),
      publicAddress: Address.parse("10.99.0.1"),
      onLinkPrefixes: [],
    },
  },
  hasIpv6: true,
  port: 8472,
  macFor: (device): Mac => localMacFromSeed(Buffer.from(`${device}      `)),
};

function feedOf(...networks: readonly NamedNetwork[]): TestFeed {
  const feed = new TestFeed();
  for (const network of networks) feed.addNetwork(network);
  for (const n of [1, 2, 3])
    feed.addHost({
      host: hostId(n),
      name: `host${n}`,
      publicAddresses: { 4: Address.parse(`10.99.0.${n}`) },
      localPrefixes: [],
      version: "",
    });
  return feed;
}

function stateOf(groups: ReadonlyMap<string, readonly KernelObject[]>): string[] {
  return renderState([...groups.values()].flat()).split("\n");
}

describe("the plan for named networks", () => {
  it("is empty without local members", () => {
    const feed = feedOf(BLUE);
    feed.setMembers(BLUE.id, hostId(2), [testMember(1, 20)]);
    const { plan, segments } = new SegmentPlanner().plan(feed.view, FACTS);
    expect([plan.type, plan.groups.size, segments.size]).toEqual(["whole", 0, 0]);
  });

  it("has devices, settings, and three tables' entries for each remote member", () => {
    const feed = feedOf(BLUE);
    feed.setMembers(BLUE.id, hostId(1), [testMember(1, 10)]);
    feed.setMembers(BLUE.id, hostId(2), [testMember(1, 20)]);
    const { plan } = new SegmentPlanner().plan(feed.view, FACTS);
    const port = segmentPortName(BLUE.id, "endpoint-1-10");
    expect(stateOf(plan.groups)).toEqual([
      `bridge link ${port} master tb-1001 hairpin off isolated off learning on flood on mcast_flood on bcast_flood on neigh_suppress off`,
      "bridge link tv-1001 master tb-1001 hairpin off isolated off learning off flood off mcast_flood off bcast_flood off neigh_suppress on",
      "fdb 02:42:00:01:00:14 dev tv-1001 dst 10.99.0.2 permanent",
      "fdb 02:42:00:01:00:14 dev tv-1001 master tb-1001 static",
      "link tb-1001 type bridge mtu 1450 up address 76:62:2d:31:30:30 mcast_snooping 0 stp_state 0 vlan_filtering 0",
      "link tv-1001 type vxlan mtu 1450 up address 76:76:2d:31:30:30 vxlan id 4097 local 10.99.0.1 dev eth0 dstport 8472 nolearning",
      "neigh 10.101.0.20 lladdr 02:42:00:01:00:14 dev tb-1001 permanent",
      "neigh fd00:1::14 lladdr 02:42:00:01:00:14 dev tb-1001 permanent",
      "sysctl net/ipv4/conf/tb-1001/arp_ignore=8",
      "sysctl net/ipv6/conf/tb-1001/accept_ra=0",
      "sysctl net/ipv6/conf/tb-1001/addr_gen_mode=1",
      "sysctl net/ipv6/conf/tv-1001/disable_ipv6=1",
    ]);
  });

  it("replans one member when one of thousands comes, changes or goes", () => {
    const feed = feedOf(BLUE);
    const planner = new SegmentPlanner();
    const many = Array.from({ length: 2000 }, (_, n) => testMember(1, 100 + n));
    feed.setMembers(BLUE.id, hostId(1), [testMember(1, 10)]);
    feed.setMembers(BLUE.id, hostId(2), many);
    planner.plan(feed.view, FACTS);
    const changed = (members: typeof many): string[] => {
      feed.setMembers(BLUE.id, hostId(2), members);
      const { plan } = planner.plan(feed.view, FACTS);
      expect(plan.type).toBe("delta");
      return [...plan.groups].map(([name, { length }]) => `${name.split(" ")[2]} ${length}`);
    };
    expect(changed([...many, testMember(1, 20)])).toEqual(["endpoint-1-20 4"]);
    expect(changed([...many, testMember(1, 20, { addresses: { 4: Address.parse("10.101.7.7") } })])).toEqual([
      "endpoint-1-20 3",
    ]);
    expect(changed(many)).toEqual(["endpoint-1-20 0"]);
    expect(changed(many.map((one) => ({ ...one, names: ["renamed"] })))).toEqual([]);
  });

  it("follows a host that moves, and removes all with the last local member", () => {
    const feed = feedOf(BLUE);
    const planner = new SegmentPlanner();
    feed.setMembers(BLUE.id, hostId(1), [testMember(1, 10)]);
    feed.setMembers(BLUE.id, hostId(2), [testMember(1, 20)]);
    planner.plan(feed.view, FACTS);
    feed.addHost({
      host: hostId(2),
      name: "",
      publicAddresses: { 4: Address.parse("10.99.0.77") },
      localPrefixes: [],
      version: "",
    });
    expect(stateOf(planner.plan(feed.view, FACTS).plan.groups)).toContain(
      "fdb 02:42:00:01:00:14 dev tv-1001 dst 10.99.0.77 permanent",
    );
    feed.setMembers(BLUE.id, hostId(1), []);
    const { plan, segments } = planner.plan(feed.view, FACTS);
    expect([...plan.groups.values()].flat()).toEqual([]);
    expect([plan.groups.size, segments.size]).toEqual([3, 0]);
  });

  it("says that containers get less than the network asks for", () => {
    const large = testNetwork(1, { mtuBytes: 9000 });
    const feed = feedOf(large);
    feed.setMembers(large.id, hostId(1), [testMember(1, 10)]);
    const [segment] = new SegmentPlanner().plan(feed.view, FACTS).segments.values();
    expect(segment).toMatchObject({
      mtuBytes: 1450,
      problems: [
        "its MTU 9000 exceeds 1450, the most that eth0 carries beside the tunnel's headers; containers get 1450",
      ],
    });
  });

  it("has no IPv6 where the underlay carries too little for it, and says so", () => {
    const uplinks = mapFamilies(FACTS.uplinks, (uplink) => ({ ...uplink, mtuBytes: 1280 }));
    const narrow: SegmentFacts = { ...FACTS, uplinks };
    const feed = feedOf(BLUE);
    feed.setMembers(BLUE.id, hostId(1), [testMember(1, 10)]);
    feed.setMembers(BLUE.id, hostId(2), [testMember(1, 20)]);
    const { plan, segments } = new SegmentPlanner().plan(feed.view, narrow);
    // The kernel takes neither an address nor a neighbour there: "IPv6 is disabled on this device".
    expect(stateOf(plan.groups).filter((line) => line.includes("fd00:") || line.includes("ipv6"))).toEqual(
      [],
    );
    expect([...segments.values()][0]?.problems).toEqual([
      "its containers cannot have IPv6, which needs an MTU of 1280: it is 1230, the most that eth0 carries beside the tunnel's headers; raise the MTU of eth0",
    ]);
  });

  it("says that a bridge is full", () => {
    const feed = feedOf(BLUE);
    const problemsOf = (count: number) => {
      const members = Array.from({ length: count }, (_, n) => ({ ...testMember(1, 10), endpoint: `e${n}` }));
      feed.setMembers(BLUE.id, hostId(1), members);
      return [...new SegmentPlanner().plan(feed.view, FACTS).segments.values()][0]?.problems;
    };
    expect(problemsOf(1021)).toEqual([]);
    // One port is the tunnel's.
    expect(problemsOf(1022)).toEqual([
      "bridge tb-1001 has 1023 ports, and Linux allows a bridge no more: start other containers on another host",
    ]);
  });

  it("takes IPv6 outside where there is no IPv4, and nothing without an interface", () => {
    const feed = feedOf(BLUE);
    feed.setMembers(BLUE.id, hostId(1), [testMember(1, 10)]);
    const address = Address.parse("2001:db8::1");
    const uplink = { interface: "eth0", mtuBytes: 1500, address, publicAddress: address, onLinkPrefixes: [] };
    const ofIpv6 = new SegmentPlanner().plan(feed.view, { ...FACTS, uplinks: { 6: uplink } });
    expect(stateOf(ofIpv6.plan.groups).join()).toContain("mtu 1430 up");
    const ofNone = new SegmentPlanner().plan(feed.view, { ...FACTS, uplinks: {} });
    expect([...ofNone.segments.values()][0]?.problems).toEqual([
      "this host has no interface for tunnel packets",
    ]);
    expect(ofNone.plan.groups.size).toBe(0);
  });
});

describe("names of devices", () => {
  it("fit for every VNI, and are recognized", () => {
    for (const vni of [4096, 16_777_215]) {
      for (const name of Object.values(segmentDevices(vni))) {
        expect(name.length).toBeLessThanOrEqual(15);
        expect(isSegmentDevice(name)).toBe(true);
      }
    }
    expect(["tb-", "tb-fff", "tb-1000000", "tbx1000", "tun0"].some(isSegmentDevice)).toBe(false);
    expect(segmentPortName(BLUE.id, "x".repeat(64))).toHaveLength(15);
  });
});
