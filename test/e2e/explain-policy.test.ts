/** `tulle explain` where policy rules decide, a lease is rejected, or the link's answers do not arrive. */

import { expect, it } from "vitest";
import { explainOn, type Fault, itNames, useWays } from "../support/explained-ways.ts";
import { describeWithEtcd, useEtcdLab } from "../support/hosts.ts";

const FAULTS: Readonly<Record<string, Fault>> = {
  "a policy rule for a protocol that drops": {
    commands: ["ip rule add ipproto icmp to SUBNET/24 blackhole priority 50"],
    undo: ["ip rule del priority 50"],
    ...{ outcome: "dropped", cause: "path-diverted" },
    seen: /: "50: from all to [\d.]+\/24 … blackhole" discards the packet$/,
  },
  "a policy rule for a protocol of one device": {
    commands: ["ip rule add iif docker0 ipproto icmp prohibit priority 50"],
    undo: ["ip rule del priority 50"],
    ...{ outcome: "dropped", cause: "path-diverted" },
    seen: /: "50: from all iif docker0 … prohibit" discards the packet$/,
  },
  "rules that leave out table main": {
    commands: ["ip rule del lookup main"],
    undo: ["ip rule add lookup main priority 32766"],
    ...{ outcome: "dropped", cause: "path-diverted" },
    seen: /does not take the route [\d.]+\/24 of table main: no policy rule leads to that table; "ip rule add/,
  },
};

describeWithEtcd("explaining a way that policy rules decide", () => {
  const net = useEtcdLab("policy", {
    hosts: 2,
    config: { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } },
    isStoreApart: true,
  });
  const ways = useWays(net);

  itNames(ways, FAULTS);

  it.each(["a policy rule for a protocol that drops", "rules that leave out table main"])(
    "names for a packet of the host %s",
    (name) => {
      const fault = FAULTS[name] as Fault;
      ways.inject(fault);
      const { end } = explainOn(net.host(1), "host", ways.to.address);
      expect(end).toMatchObject({ outcome: fault.outcome, cause: fault.cause });
      expect(end.text).toMatch(fault.seen);
    },
  );

  it("does not advise to delete the default route where a lease is rejected", async () => {
    ways.inject({ commands: ["ip addr add SUBNET/32 dev lo"], undo: ["ip addr del SUBNET/32 dev lo"] });
    await net.host(1).daemon.until(({ refused }) => refused.length > 0, "rejects the lease");
    const { end } = ways.explain();
    expect(end.text).toContain("and the lease there is rejected: ");
    expect(end.remedy).toBe('do what the reason says; "tulle lease check" lists all rejected leases');
    ways.undo();
    ways.undo = () => undefined;
    await net.host(1).daemon.until(({ refused }) => refused.length === 0, "uses the lease again");
  });

  it("says that answers to a container outside this host's subnet get lost", () => {
    const masquerade = "POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE";
    ways.inject({
      commands: ["ip addr add 172.17.0.1/16 dev docker0"],
      undo: ["ip addr flush to 172.17.0.1"],
    });
    ways.from.netns.ip("address add 172.17.0.9/16 dev eth0");
    const end = () => explainOn(net.host(1), "172.17.0.9", ways.to.address).end;
    expect(end()).toMatchObject({
      outcome: "unknown",
      remedy: expect.stringContaining("tulle docker setup"),
    });
    expect(end().text).toContain("the source 172.17.0.9 is outside this host's subnet");
    net.host(1).run("iptables", "-t", "nat", "-A", ...masquerade.split(" "));
    expect(end().outcome).toBe("leaves");
    net.host(1).run("iptables", "-t", "nat", "-D", ...masquerade.split(" "));
    ways.from.netns.ip("address del 172.17.0.9/16 dev eth0");
  });

  it("does not call a peer down whose answers this host drops", async () => {
    const { daemon } = net.host(1);
    await daemon.until(({ peers }) => peers.every(({ health }) => health?.state === "good"), "is well");
    ways.inject({
      commands: [
        "nft add table arp fault",
        'nft "add chain arp fault c { type filter hook input priority 0; }"',
        "nft add rule arp fault c drop",
        "ip neighbour flush dev eth0",
      ],
      undo: ["nft delete table arp fault"],
    });
    const expected = { outcome: "dropped", cause: "local-firewall" };
    await expect.poll(() => ways.explain().end, { timeout: 40_000 }).toMatchObject(expected);
    const { end } = ways.explain();
    expect(end.text).toMatch(/nothing answers for [\d.]+ on eth0; probes say that answers of ARP/);
    expect(end.remedy).not.toContain("lease");
  });
});

describeWithEtcd("explaining a way without a tunnel that a firewall narrows", () => {
  const net = useEtcdLab("narrow", {
    hosts: 2,
    config: { Network: "10.2.0.0/16", Backend: { Type: "host-gw" } },
    isStoreApart: true,
  });
  const ways = useWays(net);

  it("does not take what happens to this host's own packets for that of a container's", async () => {
    const drop = "OUTPUT -d SUBNET/24 -j DROP";
    ways.inject({ commands: [`iptables -I ${drop}`], undo: [`iptables -D ${drop}`] });
    await net
      .host(1)
      .daemon.until(({ causes }) => causes.some(({ code }) => code === "local-firewall"), "names the rule");
    const { steps, end } = ways.explain();
    expect(end).toMatchObject({ outcome: "leaves", cause: null });
    expect(steps.map(({ text }) => text).join()).toContain("drops packets that it sends");
    expect(explainOn(net.host(1), "host", ways.to.address).end.outcome).toBe("dropped");
  });
});
