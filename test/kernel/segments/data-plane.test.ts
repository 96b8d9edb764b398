/** Named networks over three hosts in namespaces: who reaches whom, what is on the wire, and what heals. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { attach } from "../../../backends/attachment/attach.ts";
import { Undo } from "../../../backends/attachment/undo.ts";
import { NetnsHandle, withNetns } from "../../../backends/netlink/netns.ts";
import { segmentAttachmentSpec } from "../../../backends/segments/attachment.ts";
import { segmentDevices } from "../../../backends/segments/names.ts";
import { Address, entriesOf } from "../../../ipam/addresses/ip.ts";
import { parseMac } from "../../../ipam/addresses/mac.ts";
import { canPing } from "../../support/can-ping.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import {
  countLost,
  createLan,
  hostId,
  reaches,
  SegmentLabHost,
  TestFeed,
  testMember,
  testNetwork,
} from "../../support/segment-lab.ts";

const BLUE = testNetwork(1);
const RED = testNetwork(2);
const LOUD = testNetwork(3, { hasBroadcast: true });
const { bridge: BRIDGE, vxlan: VXLAN } = segmentDevices(BLUE.vni);
const FAR = testMember(1, 30);
const FAR_MAC = FAR.mac;
const FAR_IP = String(FAR.addresses[4]);

/** Each damages the bridge or the VXLAN device of a network in another way. */
const DAMAGE: readonly (readonly [string, string])[] = [
  ["a deleted VXLAN device", `ip link del ${VXLAN}`],
  ["a deleted bridge", `ip link del ${BRIDGE}`],
  ["both devices deleted", `ip link del ${BRIDGE}; ip link del ${VXLAN}`],
  ["a bridge down", `ip link set ${BRIDGE} down`],
  ["a VXLAN device down", `ip link set ${VXLAN} down`],
  ["another MTU", `ip link set ${BRIDGE} mtu 1300; ip link set ${VXLAN} mtu 1300`],
  ["another hardware address of the bridge", `ip link set ${BRIDGE} address 02:0e:00:00:00:0e`],
  ["another hardware address of the tunnel", `ip link set ${VXLAN} address 02:0e:00:00:00:0e`],
  [
    "a renamed bridge",
    `ip link set ${BRIDGE} down; ip link set ${BRIDGE} name stolen; ip link set stolen up`,
  ],
  ["a renamed tunnel", `ip link set ${VXLAN} down; ip link set ${VXLAN} name stolen; ip link set stolen up`],
  ["the tunnel out of the bridge", `ip link set ${VXLAN} nomaster`],
  ["the tunnel in another bridge", `ip link add other type bridge; ip link set ${VXLAN} master other`],
  [
    "port flags by bridge",
    `bridge link set dev ${VXLAN} learning on flood on mcast_flood on neigh_suppress off`,
  ],
  ["port flags by ip", `ip link set ${VXLAN} type bridge_slave learning on bcast_flood on isolated on`],
  ["a bridge with multicast snooping", `ip link set ${BRIDGE} type bridge mcast_snooping 1 stp_state 1`],
  ["a tunnel that learns", `ip link set ${VXLAN} type vxlan id ${BLUE.vni} learning`],
  [
    "a flushed bridge FDB",
    `bridge fdb flush dev ${VXLAN} master || bridge fdb del ${FAR_MAC} dev ${VXLAN} master`,
  ],
  ["a deleted bridge FDB entry", `bridge fdb del ${FAR_MAC} dev ${VXLAN} master`],
  ["a deleted tunnel FDB entry", `bridge fdb del ${FAR_MAC} dev ${VXLAN} self`],
  [
    "a redirected tunnel FDB entry",
    `bridge fdb replace ${FAR_MAC} dev ${VXLAN} dst 10.99.0.77 self permanent`,
  ],
  [
    "an FDB entry for all unknown stations",
    `bridge fdb append 00:00:00:00:00:00 dev ${VXLAN} dst 10.99.0.77`,
  ],
  ["a stray FDB entry", `bridge fdb add 02:00:00:00:00:99 dev ${VXLAN} master static`],
  ["a deleted neighbour", `ip neigh del ${FAR_IP} dev ${BRIDGE}`],
  ["a changed neighbour", `ip neigh replace ${FAR_IP} lladdr 02:0f:00:00:00:0f dev ${BRIDGE} nud permanent`],
  ["a stray neighbour", `ip neigh add 10.101.9.9 lladdr 02:0f:00:00:00:0f dev ${BRIDGE} nud permanent`],
  ["flushed neighbours", `ip neigh flush dev ${BRIDGE} nud permanent`],
];

describeAsRoot("named networks over three hosts", () => {
  let lan: TestNetns;
  let feed: TestFeed;
  let hosts: SegmentLabHost[];
  const host = (at: number): SegmentLabHost => {
    const found = hosts[at - 1];
    if (found === undefined) throw new Error(`there is no host ${at}`);
    return found;
  };

  beforeEach(() => {
    lan = createLan();
    feed = new TestFeed();
    for (const network of [BLUE, RED, LOUD]) feed.addNetwork(network);
    hosts = [1, 2, 3].map((n) => new SegmentLabHost({ n, feed }).plugInto(lan).start());
  });
  afterEach(async () => {
    for (const each of hosts) await each.dispose();
    lan.dispose();
  });

  const settled = async (): Promise<void> => {
    for (const each of hosts) await each.settled();
  };

  it("reach each other inside a network, by both families, and nothing else", async () => {
    const a = await host(1).run(BLUE, testMember(1, 10));
    const b = await host(2).run(BLUE, testMember(1, 20));
    const c = await host(3).run(BLUE, FAR);
    const other = await host(1).run(RED, testMember(2, 10));
    await settled();
    for (const [from, to] of [
      [a, b],
      [b, c],
      [c, a],
    ] as const) {
      expect(await reaches(from, to.member.addresses[4])).toBe(true);
      expect(await reaches(from, to.member.addresses[6])).toBe(true);
    }
    other.netns.ip("route add 10.101.0.0/16 dev eth0");
    expect(canPing(other.netns, a.member.addresses[4])).toBe(false);
    expect(canPing(other.netns, b.member.addresses[4])).toBe(false);
    expect(host(1).segments.status()).toMatchObject([
      {
        name: "net1",
        bridge: "tb-1001",
        vxlan: "tv-1001",
        mtuBytes: 1450,
        localMembers: 1,
        remoteMembers: 2,
      },
      { name: "net2", localMembers: 1, remoteMembers: 0, problems: [] },
    ]);
  });

  it("program nothing of a network without local members, and remove it with the last one", async () => {
    const a = await host(1).run(BLUE, testMember(1, 10));
    await host(2).run(RED, testMember(2, 20));
    await settled();
    const links = (n: number): string => host(n).sh("ip -o link show | grep -o 't[bv]-[0-9a-f]*' | sort -u");
    expect([1, 2].map(links)).toEqual(["tb-1001\ntv-1001\n", "tb-1002\ntv-1002\n"]);
    expect(host(3).sh("ip -o link show")).not.toContain("tb-");
    await host(1).remove(BLUE, a);
    await settled();
    expect(host(1).sh("ip -o link show")).not.toMatch(/t[bvp]-/);
  });

  it("ask nothing on the wire, also for addresses that there are not", async () => {
    const a = await host(1).run(BLUE, testMember(1, 10));
    const b = await host(2).run(BLUE, testMember(1, 20));
    await settled();
    const sent = (): number => Number(host(1).sh(`ip -s link show ${VXLAN} | tail -1 | awk '{print $2}'`));
    expect(await reaches(a, b.member.addresses[4])).toBe(true);
    const before = sent();
    expect(canPing(a.netns, "10.101.9.9")).toBe(false);
    expect(canPing(a.netns, "fd00:1::9999")).toBe(false);
    a.netns.exec("sh", ["-c", "ping -b -c 1 -W 0.2 10.101.255.255 || true"]);
    expect(sent()).toBe(before);
    a.netns.exec("ping", ["-c", "1", "-W", "2", String(b.member.addresses[4])]);
    expect(sent()).toBe(before + 1);
  });

  it("carry broadcast to all hosts with members where the network asks for it", async () => {
    const a = await host(1).run(LOUD, testMember(3, 10));
    const b = await host(2).run(LOUD, testMember(3, 20));
    const c = await host(3).run(LOUD, testMember(3, 30));
    await settled();
    for (const { netns } of [b, c]) netns.exec("sysctl", ["-qw", "net.ipv4.icmp_echo_ignore_broadcasts=0"]);
    for (const one of [b, c]) expect(await reaches(a, one.member.addresses[4])).toBe(true);
    const answers = a.netns.exec("sh", ["-c", "ping -b -c 2 -w 2 10.103.255.255 || true"]);
    expect(answers).toContain("from 10.103.0.20");
    expect(answers).toContain("from 10.103.0.30");
    await host(3).remove(LOUD, c);
    await settled();
    expect(host(1).sh("bridge fdb show dev tv-1003 | grep 00:00:00:00:00:00")).toBe(
      "00:00:00:00:00:00 dst 10.99.0.2 self permanent\n",
    );
  });

  it.each(DAMAGE)("heals %s", async (_what, command) => {
    const a = await host(1).run(BLUE, testMember(1, 10));
    const b = await host(1).run(BLUE, testMember(1, 11));
    await host(2).run(BLUE, testMember(1, 20));
    const c = await host(3).run(BLUE, FAR);
    await settled();
    const before = host(1).shown(BLUE);
    host(1).sh(command);
    await expect.poll(() => host(1).shown(BLUE), { timeout: 5000, interval: 20 }).toBe(before);
    expect(await reaches(a, c.member.addresses[4])).toBe(true);
    expect(await reaches(c, b.member.addresses[6])).toBe(true);
    await host(1).settled();
    const { passes } = host(1).segments.reconciler;
    host(1).segments.requestDump("steady?");
    await host(1).settled();
    const { lastPass, failures, conflicts } = host(1).segments.reconciler;
    expect({ applied: lastPass?.applied, failures, conflicts }).toEqual({
      applied: {},
      failures: [],
      conflicts: [],
    });
    expect(host(1).segments.reconciler.passes).toBeGreaterThan(passes);
  });

  it("change nothing and lose no packet when the agent restarts", async () => {
    const a = await host(1).run(BLUE, testMember(1, 10));
    const b = await host(2).run(BLUE, testMember(1, 20));
    await settled();
    const before = host(1).shown(BLUE);
    expect(await reaches(a, b.member.addresses[4])).toBe(true);
    const lost = await countLost(a, b.member.addresses[4], async () => {
      await host(1).restart();
      await host(1).settled();
    });
    expect(lost).toBe(0);
    expect(host(1).segments.reconciler.lastPass).toMatchObject({ applied: {}, failed: 0 });
    expect(host(1).shown(BLUE)).toBe(before);
  });

  it("stay after a restart without the file of the view, and change nothing once the store is followed", async () => {
    await host(1).run(BLUE, testMember(1, 10));
    await settled();
    const before = host(1).shown(BLUE);
    const { networks, members } = feed.view;
    await host(1).stop();
    feed.storeProblem = "the store has not answered yet";
    feed.set({ networks: new Map(), members: new Map() });
    await host(1).restart();
    await host(1).settled();
    expect(host(1).shown(BLUE)).toBe(before);
    feed.storeProblem = null;
    feed.set({ networks, members });
    await host(1).settled();
    expect(host(1).shown(BLUE)).toBe(before);
    expect(host(1).segments.reconciler.lastPass).toMatchObject({ applied: {}, failed: 0 });
    feed.set({ members: new Map() });
    await host(1).settled();
    expect(host(1).sh("ip -o link show")).not.toMatch(/t[bv]-/);
  });

  it("keep at a restart what is newer than the file of the view, until the store is listed", async () => {
    const [one, two, three] = [1, 2, 3].map((n) => host(n).facts.host);
    if (one === undefined || two === undefined || three === undefined) throw new Error("no hosts");
    await host(1).run(BLUE, testMember(1, 10));
    const [stays, moves, comes] = [testMember(1, 20), testMember(1, 21), testMember(1, 22)];
    feed.setMembers(BLUE.id, two, [stays, moves]);
    const { members: older } = feed.view;
    feed.setMembers(BLUE.id, two, [stays, comes]);
    feed.setMembers(BLUE.id, three, [moves]);
    await host(1).settled();
    const { members: newest } = feed.view;
    const before = host(1).shown(BLUE);
    await host(1).stop();
    feed.storeProblem = "the store has not answered yet";
    feed.set({ members: older });
    await host(1).restart();
    await host(1).settled();
    expect(host(1).shown(BLUE)).toBe(before);
    feed.storeProblem = null;
    feed.set({ members: newest });
    await host(1).settled();
    expect(host(1).shown(BLUE)).toBe(before);
    feed.setMembers(BLUE.id, three, []);
    await host(1).settled();
    expect(host(1).shown(BLUE)).not.toContain(moves.mac);
    expect(host(1).shown(BLUE)).toContain(comes.mac);
  });

  it("remove after a restart what a network without members left", async () => {
    const a = await host(1).run(BLUE, testMember(1, 10));
    await settled();
    await host(1).stop();
    await host(1).remove(BLUE, a);
    await host(1).restart();
    await host(1).settled();
    expect(host(1).sh("ip -o link show")).not.toMatch(/t[bvp]-/);
  });

  it("take containers whose own end this host configures", async () => {
    const b = await host(2).run(BLUE, testMember(1, 20));
    const member = testMember(1, 10);
    feed.setMembers(BLUE.id, hostId(1), [member]);
    const { bridge, mtuBytes } = await host(1).segments.ready(BLUE.id, AbortSignal.timeout(10_000));
    const netns = createNetns("ctr");
    const handle = NetnsHandle.open(netns.path);
    const addresses = entriesOf(member.addresses).map(([family, address]) => ({
      address: { address, length: family === 4 ? 16 : 64 },
      gateway: BLUE.pools[family]?.gateway ?? address,
    }));
    const spec = segmentAttachmentSpec({
      network: BLUE.id,
      devices: { bridge },
      mtuBytes,
      endpoint: member.endpoint,
      container: { netns: handle, interfaceName: "eth0", mac: member.mac, addresses },
    });
    try {
      await withNetns(host(1).handle, () => attach(spec, new Undo()));
      await settled();
      const a = { netns, member, port: spec.port.name };
      expect(await reaches(a, b.member.addresses[4])).toBe(true);
      expect(await reaches(b, a.member.addresses[6])).toBe(true);
      expect(netns.exec("ip", ["route", "show", "default"])).toBe("");
      const before = host(1).shown(BLUE);
      host(1).sh(`ip link del ${BRIDGE}`);
      await expect.poll(() => host(1).shown(BLUE), { timeout: 5000, interval: 20 }).toBe(before);
      expect(await reaches(a, b.member.addresses[4])).toBe(true);
    } finally {
      handle.close();
      netns.dispose();
    }
  });

  it("leave a foreign device with the name of ours alone, and say so", async () => {
    host(1).sh(`ip link add ${BRIDGE} type bridge; ip link set ${BRIDGE} up`);
    host(1).sh(`ip neigh add 10.101.9.9 lladdr 02:0f:00:00:00:0f dev ${BRIDGE} nud permanent`);
    const before = host(1).sh(
      `ip -d link show ${BRIDGE} | sed 's/[a-z_]*timer *[0-9.]*//g'; ip neigh show dev ${BRIDGE}`,
    );
    await expect(host(1).run(BLUE, testMember(1, 10))).rejects.toThrow(
      /network net1: link tb-1001: a device of this name exists that tulle did not create; delete or rename it/,
    );
    feed.setMembers(BLUE.id, hostId(1), []);
    host(1).segments.requestDump("look");
    await host(1).settled();
    expect(
      host(1).sh(`ip -d link show ${BRIDGE} | sed 's/[a-z_]*timer *[0-9.]*//g'; ip neigh show dev ${BRIDGE}`),
    ).toBe(before);
  });

  it("name a foreign device that has the VNI, and take the network up once it is gone", async () => {
    host(1).sh(`ip link add mine type vxlan id ${BLUE.vni} dstport 8472 local 10.99.0.1 dev eth0`);
    await expect(host(1).run(BLUE, testMember(1, 10))).rejects.toThrow(
      /already has a device that excludes this one/,
    );
    const [status] = host(1).segments.status();
    expect(status?.problems).toHaveLength(1);
    host(1).sh("ip link del mine");
    await expect.poll(() => host(1).sh("ip -o link show"), { timeout: 3000 }).toContain(VXLAN);
  });

  it("leave out records of other hosts that collide or make no sense", async () => {
    const own = testMember(1, 10);
    await host(1).run(BLUE, own);
    await host(3).run(BLUE, FAR);
    feed.setMembers(BLUE.id, hostId(2), [
      testMember(1, 20, { mac: own.mac }),
      testMember(1, 21, { addresses: own.addresses }),
      testMember(1, 22, { mac: parseMac("01:00:5e:00:00:01") }),
      testMember(1, 23, { addresses: { 4: Address.parse("192.168.9.9") } }),
    ]);
    feed.setMembers(BLUE.id, hostId(9), [testMember(1, 90)]);
    await settled();
    const [status] = host(1).segments.status();
    expect(status?.problems).toEqual([
      "container c20 of host 00000000000000000000000000000002 is left out: a container of this host has its hardware address 02:42:00:01:00:0a",
      "container c21 of host 00000000000000000000000000000002 is left out: a container of this host has its address 10.101.0.10",
      "container c22 of host 00000000000000000000000000000002 is left out: its hardware address 01:00:5e:00:00:01 is none that a station can have",
      "container c23 of host 00000000000000000000000000000002 is left out: its address 192.168.9.9 is outside the network",
      "host 00000000000000000000000000000009 has no public IPv4 address, so its 1 containers cannot be reached",
    ]);
    expect(status?.remoteMembers).toBe(1);
    const far = `${FAR.mac} dst 10.99.0.3 self permanent\n`;
    expect(host(1).sh(`bridge fdb show dev ${VXLAN} | grep dst`)).toBe(far);
  });
});
