/** The reconciler over the real kernel: iproute2 shows what was planned. drift.test.ts covers damage. */

import { afterEach, beforeEach, expect, it } from "vitest";
import type { KernelEvent } from "../../../backends/kernel/port.ts";
import { NetlinkMonitor } from "../../../backends/netlink/monitor.ts";
import { decodeRoute } from "../../../backends/netlink/route.ts";
import { RTM_DELROUTE, RTNLGRP_IPV6_ROUTE } from "../../../backends/netlink/rtnetlink.ts";
import { Planner } from "../../../backends/planner.ts";
import { vxlanBackend } from "../../../backends/vxlan.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import type { Lease } from "../../../ipam/leases/lease.ts";
import { describeAsRoot } from "../../support/netns.ts";
import {
  ADDRESSES,
  hostFacts,
  OWN,
  OWN_MAC,
  peer,
  prepareVxlan,
  scopeOf,
} from "../../support/vxlan-fixture.ts";
import { VxlanHost } from "../../support/vxlan-host.ts";

describeAsRoot("reconciler on the real kernel", () => {
  let host: VxlanHost;
  beforeEach(() => {
    host = new VxlanHost({ label: "recon" }).start();
  });
  afterEach(() => host.dispose());

  it("makes device, address, routes, neighbours and FDB as iproute2 shows them", async () => {
    await host.want(peer(54), peer(16));
    expect(host.netns.ipJson(["-d", "link", "show", "flannel.1"])[0]).toMatchObject({
      mtu: 1450,
      address: OWN_MAC,
      linkinfo: {
        info_kind: "vxlan",
        info_data: { id: 1, port: 8472, learning: false, local: "192.168.50.1" },
      },
    });
    expect(host.sh("ip addr show flannel.1")).toContain("inet 10.2.1.0/32 scope global flannel.1");
    expect(host.sh("ip route show dev flannel.1")).toContain("10.2.54.0/24 via 10.2.54.0 proto 116 onlink");
    expect(host.sh("ip neigh show dev flannel.1")).toContain("10.2.54.0 lladdr 02:00:00:01:00:36 PERMANENT");
    expect(host.sh("bridge fdb show dev flannel.1")).toContain(
      "02:00:00:01:00:36 dst 192.168.100.54 self permanent",
    );
    expect(host.sh("cat /proc/sys/net/ipv6/conf/flannel.1/accept_ra").trim()).toBe("0");
    expect(host.sh("cat /proc/sys/net/ipv4/conf/flannel.1/forwarding").trim()).toBe("1");
  });

  it("changes nothing in a steady pass, nor after a restart", async () => {
    await host.want(peer(54), peer(16));
    const before = host.applied;
    host.reconciler.requestDump("test");
    await host.settled();
    await host.restart();
    await host.want(peer(54), peer(16));
    expect(host.applied).toBe(before);
  });

  it("follows a peer that changes its address and MAC, and removes one that left", async () => {
    await host.want(peer(54), peer(16));
    await host.want(peer(54, { mac: "02:00:00:02:00:02", publicAddress: "192.168.7.7" }));
    const fdb = host.sh("bridge fdb show dev flannel.1");
    expect(fdb).toContain("02:00:00:02:00:02 dst 192.168.7.7");
    expect(fdb).not.toContain("02:00:00:01:00:36");
    expect(host.sh("ip route show dev flannel.1")).not.toContain("10.2.16.0/24");
    expect(host.sh("ip neigh show dev flannel.1")).not.toContain("10.2.16.0 ");
  });

  it("follows MTUs up and down without losing a neighbour, and blames no other program", async () => {
    await host.want(peer(54), peer(16));
    const neighbours = host.sh("ip neigh show dev flannel.1 nud permanent | sort");
    const monitor = host
      .sh("ip monitor neigh dev flannel.1 > /tmp/tulle-neigh-$$ 2> /dev/null & echo $!")
      .trim();
    for (let mtuBytes = 1440; mtuBytes > 1300; mtuBytes -= 10) {
      host.planner = new Planner(prepareVxlan({ MTU: mtuBytes + 50 }), host.port.hasNexthopObjects);
      await host.want(peer(54), peer(16));
      expect(host.sh("ip link show flannel.1")).toContain(`mtu ${mtuBytes} `);
      expect(host.sh("ip neigh show dev flannel.1 nud permanent | sort")).toBe(neighbours);
    }
    process.kill(Number(monitor));
    expect(host.sh(`cat /tmp/tulle-neigh-*; rm /tmp/tulle-neigh-*`)).toBe("");
    expect(host.reconciler.status()).toMatchObject({ contended: [], failures: [], repaired: {} });
  });

  it("restores what a low MTU took with IPv6, and wants no IPv6 settings meanwhile", async () => {
    await host.want(peer(54));
    host.planner = new Planner(prepareVxlan({ MTU: 1250 }), host.port.hasNexthopObjects);
    await host.want(peer(54));
    expect(host.reconciler.status()).toMatchObject({ failures: [], isConverged: true });
    expect(host.sh("ls /proc/sys/net/ipv6/conf")).not.toContain("flannel.1");
    host.planner = new Planner(prepareVxlan(), host.port.hasNexthopObjects);
    await host.want(peer(54));
    expect(host.sh("cat /proc/sys/net/ipv6/conf/flannel.1/accept_ra").trim()).toBe("0");
    expect(host.reconciler.status()).toMatchObject({ failures: [], isConverged: true });
  });

  it("changes its local address in place: the device and its entries stay", async () => {
    await host.want(peer(54));
    const index = host.netns.ipJson(["link", "show", "flannel.1"])[0]?.ifindex;
    const fdb = host.sh("bridge fdb show dev flannel.1");
    host.sh("ip link set flannel.1 type vxlan id 1 local 192.168.50.9");
    await expect.poll(() => host.sh("ip -d link show flannel.1")).toContain("local 192.168.50.1 ");
    expect(host.netns.ipJson(["link", "show", "flannel.1"])[0]?.ifindex).toBe(index);
    expect(host.sh("bridge fdb show dev flannel.1")).toBe(fdb);
  });

  /** Between the two commands more routes come than the socket holds notifications; `byte` is their first. */
  const flood = (byte: number, first: string, last: string): void => {
    host.sh(
      `for i in $(seq 0 250); do for j in $(seq 0 80); do echo route add ${byte}.$((100 + j)).$i.0/24 dev under0; done; done > /tmp/tulle-flood.$$; ${first}; ip -batch /tmp/tulle-flood.$$; rm /tmp/tulle-flood.$$; ${last}`,
    );
  };

  it("hears the same after more notifications than the socket holds", async () => {
    await host.want(peer(54));
    flood(10, "ip link set flannel.1 mtu 1400", "ip route del 10.2.54.0/24");
    await expect
      .poll(() => host.sh("ip route show 10.2.54.0/24"), { timeout: 10_000 })
      .toContain("flannel.1");
    await expect.poll(() => host.sh("ip link show flannel.1")).toContain("mtu 1450");
    expect(host.sh("ip route show 10.150.7.0/24")).toContain("dev under0");
  }, 30_000);

  it("hears that a device goes down whose creation was among the lost notifications", async () => {
    const link = host.backend.planBase(OWN).find(({ kind }) => kind === "link");
    if (link === undefined) throw new Error("the backend plans no device");
    const told: KernelEvent[] = [];
    host.port.subscribe(
      () => host.scope,
      (events) => told.push(...events),
    );
    flood(12, "true", "true");
    expect(await host.port.apply([{ op: "create", object: link }])).toEqual([null]);
    const isLoss = (event: KernelEvent): boolean => event.type === "resync" && /ENOBUFS/.test(event.reason);
    await expect.poll(() => told.some(isLoss)).toBe(true);
    host.sh("ip link set flannel.1 down");
    const isDown = (event: KernelEvent): boolean =>
      event.type === "present" && event.object.kind === "link" && !event.object.isUp;
    await expect.poll(() => told.some(isDown)).toBe(true);
  }, 30_000);

  it("passes on that the parent may have changed after more notifications than the socket holds", async () => {
    const told: string[] = [];
    // Nothing else happens to the parent: its IPv6 address is not checked for duplicates meanwhile.
    host.sh("sysctl -qw net.ipv6.conf.under0.disable_ipv6=1");
    await host.want(peer(54));
    host.onHostChange = (device) => told.push(device);
    flood(11, "true", "ip addr add 192.168.50.7/16 dev under0");
    await expect.poll(() => told, { timeout: 3000 }).toContain("under0");
  }, 30_000);

  it("adopts what flanneld left, and removes its leftovers", async () => {
    host.sh(`
      ip link add flannel.1 address ${OWN_MAC} mtu 1450 type vxlan id 1 dstport 8472 local 192.168.50.1 dev under0 nolearning
      ip addr add 10.2.1.0/32 dev flannel.1
      ip link set flannel.1 up
      ip route add 10.2.54.0/24 via 10.2.54.0 dev flannel.1 onlink
      ip route add 10.2.99.0/24 via 10.2.99.0 dev flannel.1 onlink
      ip route add 10.2.98.0/24 dev flannel.1
      ip route add 10.2.77.0/24 dev under0
      ip neigh add 10.2.99.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent
      bridge fdb add 02:00:00:00:00:99 dev flannel.1 dst 192.168.1.99 self permanent
    `);
    const index = host.netns.ipJson(["link", "show", "flannel.1"])[0]?.ifindex;
    await host.want(peer(54));
    expect(host.netns.ipJson(["link", "show", "flannel.1"])[0]?.ifindex).toBe(index);
    expect(
      host
        .sh("ip route show dev flannel.1")
        .trim()
        .split("\n")
        .map((line) => line.trim()),
    ).toEqual(["10.2.54.0/24 via 10.2.54.0 proto 116 onlink", "10.2.98.0/24 scope link"]);
    expect(host.sh("ip route show 10.2.77.0/24")).toContain("dev under0");
    expect(host.sh("ip neigh show dev flannel.1")).not.toContain("10.2.99.0");
    expect(host.sh("bridge fdb show dev flannel.1")).not.toContain("02:00:00:00:00:99");
  });

  it("removes peers that left while it was down, and the device of an earlier VNI", async () => {
    await host.want(peer(54), peer(16));
    host.sh("ip link add flannel.7 type vxlan id 7 dstport 8472 dev under0");
    await host.restart();
    const { scope } = host;
    host.reconciler.setScope({ ...scope, devices: new Set([...scope.devices, "flannel.7"]) });
    await host.want(peer(16));
    expect(host.sh("ip route show dev flannel.1").trim()).toBe("10.2.16.0/24 via 10.2.16.0 proto 116 onlink");
    expect(host.sh("ip -o link show")).not.toContain("flannel.7");
  });

  it("touches nothing on a device of its name that is something else", async () => {
    host.sh(
      "ip link add flannel.1 type bridge; ip link set flannel.1 up; ip neigh add 10.2.54.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent",
    );
    host.plan(peer(54));
    await expect.poll(() => host.reconciler.status().conflicts, { timeout: 5000 }).toHaveLength(1);
    expect(host.applied).toBe(0);
    expect(host.reconciler.status().isConverged).toBe(false);
    expect(host.sh("ip neigh show dev flannel.1")).toContain("02:00:00:00:00:99");
    host.sh("ip link del flannel.1");
    await host.settled();
    expect(host.sh("ip route show 10.2.54.0/24")).toContain("dev flannel.1");
  });

  it("waits for a parent that is not there, and says so", async () => {
    host.sh("ip link del under0");
    host.plan(peer(54));
    await expect
      .poll(() => host.reconciler.status().failures, { timeout: 5000 })
      .toEqual([{ key: "link flannel.1", message: expect.stringContaining("no device under0"), others: 0 }]);
    host.sh(
      "ip link add under0 type veth peer name under1; ip addr add 192.168.50.1/16 dev under0; ip link set under0 up",
    );
    await host.settled();
    expect(host.sh("ip route show 10.2.54.0/24")).toContain("dev flannel.1");
    expect(host.reconciler.status().failures).toEqual([]);
  });

  it("says who keeps undoing a route", async () => {
    await host.want(peer(54));
    for (let round = 0; round < 12; round++) {
      host.sh("ip route del 10.2.54.0/24 2>/dev/null; true");
      await new Promise((resolve) => setTimeout(resolve, 15));
    }
    expect(host.reconciler.status().contended).toEqual([
      {
        key: "route 10.2.54.0/24 0",
        repairs: 10,
        retryInMs: expect.any(Number),
        evidence: expect.stringMatching(/^it was deleted, by .* \(netlink port \d+\)$/),
      },
    ]);
    await expect.poll(() => host.sh("ip route show 10.2.54.0/24"), { timeout: 2000 }).toContain("flannel.1");
  });

  it("passes on that the parent changed, went or came", async () => {
    const told: string[] = [];
    host.onHostChange = (device) => told.push(device);
    await host.want(peer(54));
    for (const command of [
      "ip link set under0 mtu 1400",
      "ip addr add 192.168.50.7/16 dev under0",
      "ip addr del 192.168.50.7/16 dev under0",
      "ip link set under0 down",
      "ip link set under0 name under9",
      "ip link set under9 name under0",
      "ip link del under0",
      "ip link add under0 type veth peer name under1",
    ]) {
      told.length = 0;
      host.sh(command);
      await expect.poll(() => told, { timeout: 3000 }).toContain("under0");
    }
  });
});

describeAsRoot("reconciler with both families on the real kernel", () => {
  const own = { ...OWN, 6: Prefix.parse("fd00:2:1::/64") };
  const facts = hostFacts({}, ADDRESSES);
  const backend = vxlanBackend.parseOptions({}).prepare(facts, [4, 6], { macFor: () => OWN_MAC });
  const base = scopeOf(backend, facts);
  const sysctls = backend.planBase(own).flatMap((object) => (object.kind === "sysctl" ? [object.path] : []));
  const scope = {
    ...base,
    networks: [...base.networks, Prefix.parse("fd00:2::/32")],
    sysctls: new Set(sysctls),
  };

  it.each([
    ["plain routes", 3],
    ["nexthop objects", 300],
  ])("programs, repairs and removes %s", async (_what, count) => {
    const host = new VxlanHost({ label: "dual", backend, own, scope });
    try {
      host.sh("ip addr add 2001:db8:50::1/64 dev under0 nodad");
      host.start();
      const peers = Array.from({ length: count }, (_, at) => dualPeer(at + 2));
      await host.want(...peers);
      const routes = () =>
        host.sh("ip -6 route show dev flannel-v6.1 proto 116 | sed 's/nhid [0-9]* //' | sort");
      const before = routes();
      expect(before.trim().split("\n")).toHaveLength(count);
      const changes = host.applied;
      host.reconciler.requestDump("steady?");
      await host.settled();
      await host.restart();
      await host.want(...peers);
      expect(host.applied).toBe(changes);
      for (const command of [
        "ip -6 route del fd00:2:2::/64 proto 116",
        // iproute2 6.1 cannot flush IPv6 routes through nexthop objects, and says so.
        "ip -6 route flush dev flannel-v6.1 proto 116 2>/dev/null; true",
        "ip -6 nexthop flush proto 116",
        "ip -6 route replace fd00:2:2::/64 via 2001:db8:50::99 dev under0 metric 1024 proto bgp",
        "ip -6 route append fd00:2:2::/64 via 2001:db8:50::99 dev under0 metric 1024 proto bgp",
        "ip -6 neigh del fd00:2:2:: dev flannel-v6.1",
        "ip -6 addr flush dev flannel-v6.1 scope global",
        "ip link set flannel-v6.1 down",
        "ip link del flannel-v6.1",
      ]) {
        host.sh(command);
        await expect.poll(routes, { timeout: 5000, interval: 20 }).toBe(before);
        await host.settled();
      }
      expect(host.sh("ip -6 neigh show fd00:2:2:: dev flannel-v6.1")).toContain("PERMANENT");
      expect(host.sh("ip -6 addr show dev flannel-v6.1 scope global")).toContain("fd00:2:1::/128");
      await host.want(dualPeer(2));
      expect(routes().trim().split("\n")).toHaveLength(1);
      expect(host.reconciler.status()).toMatchObject({ failures: [], conflicts: [], isConverged: true });
    } finally {
      await host.dispose();
    }
  });

  it.each([
    ["a plain route", 3],
    ["a nexthop object", 300],
  ])("creates %s where another route covers the gateway", async (_what, count) => {
    const host = new VxlanHost({ label: "cover", backend, own, scope });
    try {
      host.sh("ip addr add 2001:db8:50::1/64 dev under0 nodad");
      // As on a site that routes all unique local addresses.
      host.sh("ip -6 route add fd00::/8 via 2001:db8:50::99 dev under0");
      host.start();
      await host.want(...Array.from({ length: count }, (_, at) => dualPeer(at + 2)));
      expect(host.reconciler.status()).toMatchObject({ failures: [], conflicts: [], isConverged: true });
      expect(tunnelRoutes(host)).toHaveLength(count);
      expect(host.sh("ip -6 route show dev flannel-v6.1 proto 116 | grep -vc /64 || true").trim()).toBe("0");
    } finally {
      await host.dispose();
    }
  });

  it.each([
    ["a plain route", 3],
    ["a nexthop object", 300],
  ])("takes %s over from another device without a gap", async (_what, count) => {
    const host = new VxlanHost({ label: "over", backend, own, scope });
    try {
      host.sh("ip addr add 2001:db8:50::1/64 dev under0 nodad");
      const subnets = Array.from({ length: count }, (_, at) => `fd00:2:${(at + 2).toString(16)}::/64`);
      const lines = subnets.map((subnet) => `route add ${subnet} via 2001:db8:50::99 dev under0 proto 116`);
      host.sh(`printf '${lines.join("\\n")}\n' | ip -6 -batch -`);
      const deleted: string[] = [];
      const monitor = watchDeletedRoutes(host, deleted);
      host.start();
      await host.want(...Array.from({ length: count }, (_, at) => dualPeer(at + 2)));
      monitor.drain();
      monitor.close();
      expect(tunnelRoutes(host)).toHaveLength(count);
      expect(deleted.filter((destination) => subnets.includes(destination))).toEqual([]);
    } finally {
      await host.dispose();
    }
  });

  it("knows its routes where the kernel shows only the ids of their nexthop objects", async () => {
    const host = new VxlanHost({ label: "ids", backend, own, scope });
    try {
      host.sh("sysctl -qw net.ipv4.nexthop_compat_mode=0");
      host.start();
      const peers = Array.from({ length: 300 }, (_, at) => dualPeer(at + 2));
      await host.want(...peers);
      const changes = host.applied;
      host.reconciler.requestDump("steady?");
      await host.settled();
      await host.restart();
      await host.want(...peers);
      expect(host.applied).toBe(changes);
      host.sh("ip route replace 10.2.54.0/24 via 192.168.50.99 dev under0; ip -6 route del fd00:2:54::/64");
      await expect.poll(() => host.sh("ip route show 10.2.54.0/24")).toContain("nhid");
      await expect.poll(() => host.sh("ip -6 route show fd00:2:54::/64")).toContain("nhid");
      await host.restart();
      await host.want(dualPeer(2));
      expect(host.sh("ip route show proto 116; ip -6 route show proto 116").trim().split("\n")).toHaveLength(
        2,
      );
      expect(host.reconciler.status()).toMatchObject({ failures: [], conflicts: [], isConverged: true });
    } finally {
      await host.dispose();
    }
  });
});

function tunnelRoutes(host: VxlanHost): readonly string[] {
  return host.sh("ip -6 route show dev flannel-v6.1 proto 116 | grep /64 || true").trim().split("\n");
}

function watchDeletedRoutes(host: VxlanHost, deleted: string[]): NetlinkMonitor {
  return NetlinkMonitor.open({
    netns: host.handle,
    groups: [RTNLGRP_IPV6_ROUTE],
    onMessages: (messages) => {
      for (const message of messages)
        if (message.type === RTM_DELROUTE) deleted.push(`${decodeRoute(message)?.destination}`);
    },
    onOverflow: () => deleted.push("notifications were lost"),
    onError: (error) => deleted.push(String(error)),
  });
}

function dualPeer(n: number): Lease {
  const lease = peer(n);
  const { attrs } = lease;
  return {
    ...lease,
    subnets: { ...lease.subnets, 6: Prefix.parse(`fd00:2:${n.toString(16)}::/64`) },
    attrs: {
      ...attrs,
      publicAddress: { ...attrs.publicAddress, 6: Address.parse(`2001:db8:50::${n.toString(16)}:1`) },
      backendData: { ...attrs.backendData, 6: attrs.backendData[4] ?? null },
    },
  };
}
