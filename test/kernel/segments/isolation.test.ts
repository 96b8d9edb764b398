/**
 * Who may send what into a named network, proven with packets in both firewall engines, beside a FORWARD policy of DROP
 * and with br_netfilter, as dockerd leaves a host.
 */

import { afterEach, beforeEach, expect, it } from "vitest";
import { segmentDevices } from "../../../backends/segments/names.ts";
import { Address } from "../../../ipam/addresses/ip.ts";
import { canPing } from "../../support/can-ping.ts";
import { createNetns, describeAsRoot, type TestNetns } from "../../support/netns.ts";
import {
  countLost,
  createLan,
  hostId,
  reaches,
  SegmentLabHost,
  type TestContainer,
  TestFeed,
  testMember,
  testNetwork,
} from "../../support/segment-lab.ts";
import { INPUT } from "../firewall/fixture.ts";

const BLUE = testNetwork(1);
const RED = testNetwork(2);
const { bridge: BRIDGE } = segmentDevices(BLUE.vni);

for (const firewall of ["nft", "iptables"] as const) {
  describeAsRoot(`named networks behind ${firewall}`, () => {
    let lan: TestNetns;
    let feed: TestFeed;
    let hosts: SegmentLabHost[];
    let extra: TestNetns[];
    let a: TestContainer;
    let b: TestContainer;
    let c: TestContainer;
    const host = (at: number): SegmentLabHost => {
      const found = hosts[at - 1];
      if (found === undefined) throw new Error(`there is no host ${at}`);
      return found;
    };
    const settled = async (): Promise<void> => {
      for (const each of hosts) await each.settled();
    };

    const addHost = (n: number): void => {
      const added = new SegmentLabHost({ n, feed, firewall }).plugInto(lan);
      hosts.push(added);
      added.sh(DOCKER_LIKE);
      added.start();
    };

    /** A host of the LAN that is none of the store's. */
    const plugIn = (name: string, address: string): TestNetns => {
      const netns = createNetns(name);
      extra.push(netns);
      const end = name.slice(0, 8);
      netns.ip("link add eth0 type veth peer name wire", `link set wire netns ${lan.name} name ${end}`);
      lan.ip(`link set ${end} master lan`, `link set ${end} up`);
      netns.ip(`addr add ${address} dev eth0`, "link set eth0 up");
      return netns;
    };

    beforeEach(async () => {
      lan = createLan();
      extra = [];
      feed = new TestFeed();
      for (const network of [BLUE, RED]) feed.addNetwork(network);
      hosts = [];
      for (const n of [1, 2]) addHost(n);
      a = await host(1).run(BLUE, testMember(1, 10));
      b = await host(2).run(BLUE, testMember(1, 20));
      c = await host(1).run(BLUE, testMember(1, 11));
      await settled();
      expect(host(1).guard.status()).toMatchObject({
        engine: firewall,
        isInSync: true,
        lastError: null,
        note: null,
      });
      for (const to of [b, c]) expect(await reaches(a, to.member.addresses[4])).toBe(true);
    });
    afterEach(async () => {
      for (const each of hosts) await each.dispose();
      for (const each of [lan, ...extra]) each.dispose();
    });

    it("lets the members of a network reach each other by both families, on one host and across", async () => {
      addHost(3);
      const far = await host(3).run(BLUE, testMember(1, 30));
      await settled();
      for (const [from, to] of [
        [a, c],
        [a, b],
        [far, a],
        [b, far],
      ] as const) {
        expect(await reaches(from, to.member.addresses[4])).toBe(true);
        expect(await reaches(from, to.member.addresses[6])).toBe(true);
      }
      expect(dropsByPolicy(host(1))).toBe(0);
    });

    it("keeps networks, the host and other containers of the host out, also with routes to the bridge", async () => {
      const red = await host(1).run(RED, testMember(2, 10));
      await settled();
      const flat = connectFlat(host(1));
      extra.push(flat);
      // The mistakes of an administrator that would join the networks.
      host(1).sh(
        `ip route add 10.101.0.0/16 dev ${BRIDGE} src 10.99.0.1; ip route add 10.102.0.0/16 dev tb-1002 src 10.99.0.1`,
      );
      host(1).sh(`ip route add fd00:1::/64 dev ${BRIDGE}; ip route add fd00:2::/64 dev tb-1002`);
      host(1).sh(
        `ip neigh replace ${a.member.addresses[4]} lladdr ${a.member.mac} dev ${BRIDGE} nud permanent`,
      );
      const bridgeMac = host(1).facts.macFor(BRIDGE);
      const redMac = host(1).facts.macFor("tb-1002");
      a.netns.ip(
        "route add default via 10.101.0.1",
        `neigh add 10.101.0.1 lladdr ${bridgeMac} dev eth0`,
        "route add fd00::/16 via fd00:1::1",
        `neigh add fd00:1::1 lladdr ${bridgeMac} dev eth0`,
      );
      red.netns.ip("route add default via 10.102.0.1", `neigh add 10.102.0.1 lladdr ${redMac} dev eth0`);
      const received = echoRequests(a);
      expect(canPing(a.netns, red.member.addresses[4])).toBe(false);
      expect(canPing(red.netns, a.member.addresses[4])).toBe(false);
      expect(canPing(a.netns, red.member.addresses[6])).toBe(false);
      expect(canPing(a.netns, "10.99.0.1")).toBe(false);
      expect(canPing(a.netns, "10.99.0.2")).toBe(false);
      expect(canPing(a.netns, "10.2.1.2")).toBe(false);
      for (const from of [flat, host(1).netns])
        expect(() => from.exec("ping", ["-c", "1", "-W", "0.4", String(a.member.addresses[4])])).toThrow();
      expect(echoRequests(a)).toBe(received);
      expect(() => flat.exec("ping", ["-c", "1", "-W", "1", "10.99.0.1"])).not.toThrow();
      expect(canPing(a.netns, c.member.addresses[4])).toBe(true);
    });

    it("answers no ARP request for an address of the host", () => {
      a.netns.ip("route add 10.99.0.0/24 dev eth0");
      expect(canPing(a.netns, "10.99.0.1")).toBe(false);
      expect(a.netns.exec("ip", ["neigh", "show", "10.99.0.1"])).not.toContain("lladdr");
    });

    it.each([
      [
        "another hardware address",
        ["link set eth0 down", "link set eth0 address 02:42:de:ad:be:ef", "link set eth0 up"],
        "10.101.0.11",
        "",
      ],
      ["another IPv4 address", ["addr add 10.101.0.66/16 dev eth0"], "10.101.0.11", "10.101.0.66"],
      ["another IPv6 address", ["addr add fd00:1::66/64 dev eth0 nodad"], "fd00:1::b", "fd00:1::66"],
    ])("drops frames with %s, to this host's containers and to others", (_what, forge, near, source) => {
      a.netns.ip(...forge);
      a.netns.exec("sleep", ["0.3"]);
      a.netns.ip(`neigh replace ${near} lladdr ${c.member.mac} dev eth0 nud permanent`);
      const far = near.includes(":") ? "fd00:1::14" : "10.101.0.20";
      const before = [c, b].map(echoRequests);
      for (const to of [near, far])
        expect(() =>
          a.netns.exec("ping", ["-c", "1", "-W", "0.3", ...(source === "" ? [] : ["-I", source]), to]),
        ).toThrow();
      expect([c, b].map(echoRequests)).toEqual(before);
      expect(c.netns.exec("ip", ["neigh", "show"])).not.toMatch(/66|de:ad:be:ef/);
    });

    it("drops ARP and neighbour advertisements for addresses of others", async () => {
      a.netns.ip("addr add 10.101.0.66/16 dev eth0", "addr add fd00:1::66/64 dev eth0 nodad");
      expect(() => c.netns.exec("ping", ["-c", "1", "-W", "0.4", "10.101.0.66"])).toThrow();
      expect(() => c.netns.exec("ping", ["-c", "1", "-W", "0.4", "fd00:1::66"])).toThrow();
      expect(c.netns.exec("ip", ["neigh", "show"])).not.toMatch(/66 dev eth0 lladdr/);
      expect(await reaches(c, a.member.addresses[6])).toBe(true);
    });

    it("drops packets of containers to the port of tunnels, and no others", () => {
      const sendTo = (port: number): number => {
        const before = datagramsTo(b);
        a.netns.exec("bash", [
          "-c",
          `for i in 1 2 3; do echo hello > /dev/udp/10.101.0.20/${port}; done 2>/dev/null; sleep 0.1`,
        ]);
        return datagramsTo(b) - before;
      };
      expect(sendTo(8473)).toBeGreaterThan(0);
      expect(sendTo(8472)).toBe(0);
    });

    it("accepts tunnel packets of a named network from hosts of the store only", async () => {
      const intruder = plugIn("intruder", "10.99.0.66/24");
      intruder.ip(
        `link add vx type vxlan id ${BLUE.vni} dstport 8472 local 10.99.0.66 dev eth0 remote 10.99.0.1`,
        "addr add 10.101.0.66/16 dev vx",
        "link set vx up",
        `neigh add ${a.member.addresses[4]} lladdr ${a.member.mac} dev vx`,
      );
      const send = (): number => {
        const before = echoRequests(a);
        intruder.exec("bash", ["-c", `ping -c 3 -i 0.05 -W 0.1 ${a.member.addresses[4]} >/dev/null; true`]);
        return echoRequests(a) - before;
      };
      await expect
        .poll(() => intruder.exec("sh", ["-c", "ping -c 1 -W 0.3 10.99.0.1 || true"]))
        .toContain("1 received");
      expect(send()).toBe(0);
      feed.addHost({
        host: hostId(66),
        name: "late",
        publicAddresses: { 4: Address.parse("10.99.0.66") },
        localPrefixes: [],
        version: "",
      });
      await settled();
      expect(send()).toBeGreaterThan(0);
    });

    it("leaves packets of another network on the same port to that network's rules", async () => {
      const stranger = plugIn("stranger", "10.99.0.67/24");
      const tunnel = {
        port: 8472,
        parentInterface: "eth0",
        aliases: [],
        device: "flannel.1",
        sources: "any",
      } as const;
      await host(1).plans.update(null, {
        ...INPUT,
        tunnels: { 4: { ...tunnel, address: Address.parse("10.99.0.1") } },
      });
      host(1).netns.ip(
        "link add flannel.1 type vxlan id 1 dstport 8472 local 10.99.0.1 dev eth0 remote 10.99.0.67",
        "addr add 10.2.54.0/24 dev flannel.1",
        "link set flannel.1 up",
      );
      stranger.ip(
        "link add flannel.1 type vxlan id 1 dstport 8472 local 10.99.0.67 dev eth0 remote 10.99.0.1",
        "addr add 10.2.54.77/24 dev flannel.1",
        "link set flannel.1 up",
        `link add vx type vxlan id ${BLUE.vni} dstport 8472 local 10.99.0.67 dev eth0 remote 10.99.0.1`,
        "addr add 10.101.0.67/16 dev vx",
        "link set vx up",
        `neigh add ${a.member.addresses[4]} lladdr ${a.member.mac} dev vx`,
      );
      await expect
        .poll(() => stranger.exec("sh", ["-c", "ping -c 1 -W 0.3 10.2.54.0 || true"]), { timeout: 5000 })
        .toContain("1 received");
      const before = echoRequests(a);
      stranger.exec("sh", ["-c", `ping -c 3 -i 0.05 -W 0.1 ${a.member.addresses[4]} >/dev/null; true`]);
      expect(echoRequests(a)).toBe(before);
      expect(await reaches(a, b.member.addresses[4])).toBe(true);
    });

    it("repairs flushed rules within moments, and writes nothing when nothing is wrong", async () => {
      const { repairs } = host(1).guard.status();
      host(1).sh(
        "nft flush ruleset; nft list ruleset | grep -q . && nft delete table bridge tulle-ports; iptables -P FORWARD DROP",
      );
      await expect
        .poll(() => host(1).guard.status().repairs, { timeout: 3000, interval: 5 })
        .toBeGreaterThan(repairs);
      await expect.poll(() => canPing(a.netns, b.member.addresses[4]), { timeout: 3000 }).toBe(true);
      await expect
        .poll(() => host(1).sh("nft list table bridge tulle-ports 2>&1 | grep -c tp- ; true").trim(), {
          timeout: 3000,
        })
        .not.toBe("0");
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const { repairs: after } = host(1).guard.status();
      const listed = host(1).sh("nft -a list ruleset");
      host(1).sh("nft add table inet unconcerned; nft delete table inet unconcerned");
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(host(1).guard.status()).toMatchObject({ repairs: after, isInSync: true });
      expect(withoutCounters(host(1).sh("nft -a list ruleset"))).toBe(withoutCounters(listed));
    });

    it("loses no packet when the agent restarts or a network comes", async () => {
      const lost = await countLost(a, b.member.addresses[4], async () => {
        await host(1).restart();
        await host(1).settled();
        const red = await host(1).run(RED, testMember(2, 10));
        await settled();
        await host(1).remove(RED, red);
        await settled();
      });
      expect(lost).toBe(0);
    });
  });
}

/** The chains that dockerd makes before its own drops, and what it sets. */
const DOCKER_LIKE = [
  "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
  "sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1",
  ...["iptables", "ip6tables"].flatMap((tool) => [
    `${tool} -P FORWARD DROP`,
    `${tool} -N DOCKER-USER`,
    `${tool} -A DOCKER-USER -j RETURN`,
    `${tool} -A FORWARD -j DOCKER-USER`,
    `${tool} -A FORWARD -i docker0 ! -o docker0 -j ACCEPT`,
    `${tool} -A FORWARD -i flat0 -j ACCEPT`,
    `${tool} -A FORWARD -o flat0 -j ACCEPT`,
  ]),
].join(" && ");

/** A container of the flat overlay: routed by the host, whose address it can reach. */
function connectFlat(host: SegmentLabHost): TestNetns {
  const flat = createNetns("flat");
  host.netns.ip(
    `link add flat0 type veth peer name eth0 netns ${flat.name}`,
    "addr add 10.2.1.1/24 dev flat0",
    "link set flat0 up",
  );
  flat.ip("addr add 10.2.1.2/24 dev eth0", "link set eth0 up", "route add default via 10.2.1.1");
  return flat;
}

/** Datagrams to closed ports that a container has received. */
function datagramsTo({ netns }: TestContainer): number {
  const [names = "", values = ""] = netns.exec("grep", ["^Udp:", "/proc/net/snmp"]).split("\n");
  return Number(values.split(" ")[names.split(" ").indexOf("NoPorts")]);
}

/** How many echo requests of both families a container has received. */
function echoRequests({ netns }: TestContainer): number {
  const [names = "", values = ""] = netns.exec("grep", ["^IcmpMsg:", "/proc/net/snmp"]).split("\n");
  const at = names.split(" ").indexOf("InType8");
  const [, ipv6] = netns.exec("grep", ["^Icmp6InEchos ", "/proc/net/snmp6"]).trim().split(/\s+/);
  return (at < 0 ? 0 : Number(values.split(" ")[at])) + Number(ipv6);
}

function dropsByPolicy(host: SegmentLabHost): number {
  const [, packets] =
    /Chain FORWARD \(policy DROP (\d+) packets/.exec(host.sh("iptables -vnL FORWARD")) ?? [];
  return Number(packets);
}

function withoutCounters(listing: string): string {
  return listing.replace(/packets \d+ bytes \d+/g, "").replace(/# handle \d+/g, "");
}
