/** `tulle explain` between two hosts over VXLAN: the good way, and every fault named where it is. */

import { hostname } from "node:os";
import { beforeAll, describe, expect, it } from "vitest";
import { explainOn, type Fault, itNames, useWays } from "../support/explained-ways.ts";
import { FOREIGN_FAULTS } from "../support/foreign-faults.ts";
import { describeWithEtcd, useEtcdLab } from "../support/hosts.ts";

/** Of what tulled made, or would react to: its daemon is stopped. */
const OURS: Readonly<Record<string, Fault>> = {
  "a longer route of another program": {
    commands: ["ip route add SUBNET/28 dev eth0"],
    undo: ["ip route del SUBNET/28 dev eth0"],
    ...{ outcome: "diverted", cause: "path-diverted" },
    seen: /the route [\d.]+\/28 of table main takes the packet by eth0, not tulled's route [\d.]+\/24 dev flannel.1/,
  },
  "a neighbour that is missing": {
    commands: ["ip neigh del SUBNET dev flannel.1"],
    undo: [],
    ...{ outcome: "dropped", cause: null },
    seen: /flannel\.1 has no entry for [\d.]+, and asks no one for it/,
  },
  "a policy of FORWARD that drops": {
    commands: ["iptables -F FLANNEL-FWD", "iptables -P FORWARD DROP"],
    undo: ["iptables -P FORWARD ACCEPT"],
    ...{ outcome: "dropped", cause: "local-firewall" },
    seen: /forward: dropped by the policy of iptables filter, chain FORWARD/,
  },
};

describeWithEtcd("explaining a way over VXLAN", () => {
  const config = {
    Network: "10.2.0.0/16",
    EnableIPv6: true,
    IPv6Network: "fd00:2::/48",
    Backend: { Type: "vxlan" },
  };
  const net = useEtcdLab("explain", { hosts: 2, config, families: [4, 6] });
  const ways = useWays(net);

  it("follows a packet from a container to the other host", async () => {
    // What probes say is there with their first answer.
    const isProbed = (): boolean => ways.explain("tcp", "80").end.text.includes("answered, in");
    await expect.poll(isProbed, { timeout: 30_000 }).toBe(true);
    const { steps, end } = ways.explain("tcp", "80");
    expect(end).toMatchObject({ outcome: "leaves", cause: null, remedy: null });
    expect(end.text).toMatch(
      /^the packet leaves by eth0 as VXLAN packets \(VNI 1\) for 192\.168\.50\.12, peer .*answered, in/,
    );
    expect(end.text).toContain(`(${hostname()})`);
    expect(steps.filter(({ state }) => state !== "ok")).toEqual([]);
    const known = (text: string): string =>
      text
        .replaceAll(ways.subnet, "SUBNET")
        .replaceAll(ways.own.replace(/0$/, ""), "OWN.")
        .replace(/[0-9a-f]{2}(:[0-9a-f]{2}){5}/g, "MAC")
        .replace(/peer .*/, "peer")
        .replace(/\((reachable|stale|delay|probe)\)/, "(known)");
    const way = steps.map(({ subject, text }) => `${subject}: ${known(text)}`);
    expect(way).toEqual(
      expect.arrayContaining([
        "container: OWN.2 is behind port veth1 of bridge docker0, MTU 1430",
        "container: inside: 0.0.0.0/0 via OWN.1 dev eth0, MTU 1430",
        "rule: 32766: from all lookup main",
        "route: SUBNET/24 via SUBNET dev flannel.1, table main, tulled's",
        'firewall: forward: accepted by iptables filter, chain FLANNEL-FWD: -s 10.2.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT (through iptables filter, chain FORWARD: -m comment --comment "flanneld forward" -j FLANNEL-FWD)',
        "neighbour: SUBNET is MAC on flannel.1 (permanent)",
        "fdb: MAC is behind 192.168.50.12, peer",
        "tunnel: VXLAN packets (VNI 1) to 192.168.50.12, UDP port 8472, 50 bytes larger",
        "route: VXLAN packets (VNI 1): 192.168.50.0/24 dev eth0, table main",
        "neighbour: 192.168.50.12 is MAC on eth0 (known)",
      ]),
    );
  });

  it("follows packets of the host, and of the other family", () => {
    expect(explainOn(net.host(1), "host", ways.to.address).end).toMatchObject({
      outcome: "leaves",
      cause: null,
    });
    const [from = "", to = ""] = [ways.from.addresses[6], ways.to.addresses[6]];
    const { steps, end } = explainOn(net.host(1), from, to, "udp", "53");
    expect(end, JSON.stringify(steps, null, 1)).toMatchObject({ outcome: "leaves", cause: null });
    expect(steps.map(({ text }) => text).join("\n")).toContain("dev flannel-v6.1");
  });

  it("takes what probes say of the packet's own family", async () => {
    const rule = "INPUT -p udp --dport 8472 -j DROP";
    const undo = (): void => void net.host(2).run("sh", "-c", `iptables -D ${rule}`);
    ways.undo = undo;
    net.host(2).run("sh", "-c", `iptables -I ${rule}`);
    await net
      .host(1)
      .daemon.until(
        ({ peers, causes }) =>
          peers.some(({ health }) => health?.cause?.family === 4) &&
          causes.some(({ text }) => text.includes(" over IPv4 answers ")),
        "names the family",
      );
    const [from = "", to = ""] = [ways.from.addresses[6], ways.to.addresses[6]];
    expect(explainOn(net.host(1), from, to).end).toMatchObject({ outcome: "leaves", cause: null });
    await expect
      .poll(() => ways.explain().end)
      .toMatchObject({ outcome: "dropped", cause: "tunnel-filtered" });
    ways.undo = () => undefined;
    undo();
    await net
      .host(1)
      .daemon.until(({ peers }) => peers.every(({ health }) => health?.state === "good"), "is well again");
  });

  it("takes what probes say of this host as a sentence of its own", async () => {
    ways.inject({
      commands: [
        "nft add table netdev fault",
        'nft "add chain netdev fault c { type filter hook ingress device eth0 priority 0; }"',
        "nft add rule netdev fault c udp dport 8472 drop",
      ],
      undo: ["nft delete table netdev fault"],
    });
    const end = () => ways.explain().end;
    await expect
      .poll(end, { timeout: 30_000 })
      .toMatchObject({ outcome: "dropped", cause: "local-firewall" });
    expect(end().text).toContain("; but probes say that tunnel packets arrive at eth0");
    ways.undo();
    ways.undo = () => undefined;
    await net
      .host(1)
      .daemon.until(({ peers }) => peers.every(({ health }) => health?.state === "good"), "is well again");
  });

  it("doubts where rules for frames may drop the packet", () => {
    const end = (table: string, chain: string) => {
      ways.undo();
      ways.inject({
        commands: [
          `nft add table ${table}`,
          `nft "add chain ${table} c { type filter hook ${chain} }"`,
          `nft add rule ${table} c udp dport 8472 drop`,
        ],
        undo: [`nft delete table ${table}`],
      });
      return ways.explain().end.text;
    };
    expect(end("netdev fault", "ingress device eth0 priority 0;")).not.toContain("unless");
    expect(end("netdev fault", "egress device lo priority 0;")).not.toContain("unless");
    expect(end("netdev fault", "egress device eth0 priority 0;")).toMatch(
      /; unless this changes it: the rules for frames of nft netdev fault$/,
    );
    expect(end("bridge fault", "prerouting priority 0;")).toMatch(
      /; unless this changes it: the rules for frames of nft bridge fault$/,
    );
  });

  it("names what is wrong between a container and its bridge", () => {
    ways.inject({ commands: ["ip link set veth1 down"], undo: ["ip link set veth1 up"] });
    expect(ways.explain().end.text).toContain("veth1 is down");
    ways.undo();
    const gateway = ways.own.replace(/0$/, "1");
    ways.from.netns.ip(`neighbour replace ${gateway} lladdr 02:00:00:00:00:99 dev eth0 nud permanent`);
    const { end } = ways.explain();
    ways.from.netns.ip(`neighbour delete ${gateway} dev eth0`);
    expect(end).toMatchObject({ outcome: "dropped", cause: "path-diverted" });
    expect(end.text).toContain("to 02:00:00:00:00:99, and bridge docker0 has");
  });

  it("routes packets of this host again that a firewall marks", () => {
    const mark = "OUTPUT -p icmp -j MARK --set-mark 7";
    ways.inject({
      commands: [
        `iptables -t mangle -A ${mark}`,
        "ip route add blackhole default table 103",
        "ip rule add fwmark 7 lookup 103 priority 50",
      ],
      undo: ["ip rule del priority 50", "ip route flush table 103", `iptables -t mangle -D ${mark}`],
    });
    const { end } = explainOn(net.host(1), "host", ways.to.address);
    expect(end).toMatchObject({ outcome: "dropped", cause: "path-diverted" });
  });

  it("delivers what is for this host, or for another container of it", () => {
    const { address } = net.host(1).addContainer();
    const fromContainer = () => explainOn(net.host(1), ways.from.address, address).end;
    const fromHost = () => explainOn(net.host(1), "host", address).end;
    // Before anything has asked for it, by what is in the container; afterwards by the kernel's entries.
    for (const end of [fromContainer(), fromHost()])
      expect(end).toMatchObject({ outcome: "delivered", text: expect.stringContaining("behind veth2") });
    const nobody = ways.own.replace(/0$/, "98");
    expect(explainOn(net.host(1), ways.from.address, nobody).end.outcome).toBe("unknown");
    ways.from.netns.exec("ping", ["-c1", "-W3", address]);
    net.host(1).run("ping", "-c1", "-W3", address);
    const expected = {
      outcome: "delivered",
      text: `the packet reaches ${address} behind veth2, a port of bridge docker0`,
    };
    expect(fromContainer()).toMatchObject(expected);
    expect(fromHost()).toMatchObject(expected);
    const { end } = explainOn(net.host(1), ways.from.address, "192.168.50.11");
    expect(end).toMatchObject({
      outcome: "delivered",
      text: "the packet reaches this host, which has 192.168.50.11",
    });
    // The bridge may have the hardware address of a port.
    const gateway = ways.own.replace(/0$/, "1");
    const toGateway = () => explainOn(net.host(1), ways.from.address, gateway).end;
    expect(toGateway().text).toBe(`the packet reaches this host, which has ${gateway}`);
    const drop = `INPUT -i docker0 -d ${gateway} -j DROP`;
    ways.inject({ commands: [`iptables -I ${drop}`], undo: [`iptables -D ${drop}`] });
    expect(toGateway()).toMatchObject({ outcome: "dropped", cause: "local-firewall" });
  });

  it("says that nothing on the bridge answers, and that the bridge is down", () => {
    const silent = ways.own.replace(/0$/, "99");
    const end = () => explainOn(net.host(1), "host", silent).end;
    expect(() => net.host(1).run("ping", "-c1", "-W2", silent)).toThrow();
    // Once: the kernel forgets such an entry soon where its table, which all namespaces share, has many.
    expect(end()).toMatchObject({
      ...{ outcome: "dropped", cause: null },
      text: expect.stringContaining(`nothing answers for ${silent} on docker0`),
      remedy: expect.stringMatching(/^start the container/),
    });
    ways.inject({ commands: ["ip link set docker0 down"], undo: ["ip link set docker0 up"] });
    expect(end()).toMatchObject({ outcome: "dropped", cause: "bridge-down" });
    // In IPv6 the bridge has no address any more, nor when it is up again.
    const [from = "", to = ""] = [ways.from.addresses[6], ways.to.addresses[6]];
    expect(explainOn(net.host(1), from, to).end.cause).toBe("bridge-down");
  });

  it("finds a container where a policy rule leads this host's own packets elsewhere", () => {
    ways.inject({
      commands: ["ip route add blackhole default table 102", "ip rule add iif lo lookup 102 priority 50"],
      undo: ["ip rule del priority 50", "ip route flush table 102"],
    });
    // The tunnel's packets are this host's own.
    expect(ways.explain().end).toMatchObject({ outcome: "dropped", cause: "path-diverted" });
  });

  it("says that no lease contains the destination", () => {
    const toNone = () => explainOn(net.host(1), ways.from.address, "10.2.255.77").end;
    expect(toNone()).toMatchObject({ outcome: "diverted", cause: "path-diverted" });
    expect(toNone().text).toMatch(
      /0\.0\.0\.0\/0 of table main takes the packet by eth0: no lease contains 10\.2\.255\.77/,
    );
    const route = "default via 192.168.50.1 dev eth0";
    ways.inject({ commands: [`ip route del ${route}`], undo: [`ip route add ${route}`] });
    expect(toNone()).toMatchObject({ outcome: "dropped", cause: "no-route" });
    expect(toNone().text).toMatch(/no route leads to 10\.2\.255\.77 .*: no lease contains it/);
  });

  describe("names", () => itNames(ways, FOREIGN_FAULTS));

  describe("without a daemon", () => {
    const nowhere = "--run-dir=/nowhere";
    beforeAll(async () => {
      await net.host(1).daemon.until(({ peers }) => peers.length === 1, "has its peer back");
      await net.host(1).daemon.stop();
    });

    it("asks the kernel alone, and says what it does not know", () => {
      const { steps, end } = ways.explain(nowhere);
      expect(end.text).toBe("the packet leaves by eth0 as VXLAN packets (VNI 1) for 192.168.50.12");
      expect(steps[0]).toMatchObject({
        subject: "unknown",
        state: "doubt",
        text: expect.stringMatching(/^leases and peers are not known: /),
      });
    });

    it("names an MTU that is too small behind the tunnel", () => {
      ways.inject({ commands: ["ip link set eth0 mtu 1400"], undo: ["ip link set eth0 mtu 1500"] });
      const { end } = ways.explain(nowhere);
      expect(end).toMatchObject({ outcome: "dropped", cause: "large-packets-lost" });
      expect(end.text).toMatch(
        /but only up to 1350 bytes: larger ones, up to 1430, do not fit behind the tunnel/,
      );
    });

    it("names a forwarding entry that is missing", () => {
      const [mac = ""] =
        /[0-9a-f:]{17}/.exec(net.host(1).run("ip", "neigh", "show", ways.subnet, "dev", "flannel.1")) ?? [];
      const entry = `${mac} dev flannel.1`;
      ways.inject({
        commands: [`bridge fdb del ${entry}`],
        undo: [`bridge fdb add ${entry} dst 192.168.50.12 self permanent`],
      });
      const { end } = ways.explain(nowhere);
      expect(end).toMatchObject({ outcome: "dropped", cause: null });
      expect(end.text).toContain(`flannel.1 has no forwarding entry for ${mac}`);
    });

    itNames(ways, OURS, nowhere);
  });
});
