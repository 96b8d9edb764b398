/** The reconciler with IPv6 beside IPv4 over the real kernel, with plain routes and in a network with nexthop objects. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { NetlinkMonitor } from "../../../backends/netlink/monitor.ts";
import { decodeRoute } from "../../../backends/netlink/route.ts";
import { RTM_DELROUTE, RTNLGRP_IPV6_ROUTE } from "../../../backends/netlink/rtnetlink.ts";
import { vxlanBackend } from "../../../backends/vxlan.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import type { Lease } from "../../../ipam/leases/lease.ts";
import { describeAsRoot } from "../../support/netns.ts";
import { ADDRESSES, hostFacts, OWN, OWN_MAC, peer, scopeOf } from "../../support/vxlan-fixture.ts";
import { VxlanHost } from "../../support/vxlan-host.ts";

/** Of routes, and how many peers a network has with them. */
const FORMS: readonly [string, number][] = [
  ["plain routes", 3],
  ["nexthop objects", 300],
];

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

  let host: VxlanHost;
  beforeEach(() => {
    host = new VxlanHost({ label: "dual", backend, own, scope });
    host.sh("ip addr add 2001:db8:50::1/64 dev under0 nodad");
  });
  afterEach(() => host.dispose());

  it.each(FORMS)("programs, repairs and removes %s", async (_what, count) => {
    host.start();
    const peers = dualPeers(count);
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
  });

  it.each(FORMS)("creates %s where another route covers the gateway", async (_what, count) => {
    // As on a site that routes all unique local addresses.
    host.sh("ip -6 route add fd00::/8 via 2001:db8:50::99 dev under0");
    host.start();
    await host.want(...dualPeers(count));
    expect(host.reconciler.status()).toMatchObject({ failures: [], conflicts: [], isConverged: true });
    expect(tunnelRoutes(host)).toHaveLength(count);
    expect(host.sh("ip -6 route show dev flannel-v6.1 proto 116 | grep -vc /64 || true").trim()).toBe("0");
  });

  it.each(FORMS)("takes %s over from another device without a gap", async (_what, count) => {
    const subnets = Array.from({ length: count }, (_, at) => `fd00:2:${(at + 2).toString(16)}::/64`);
    const lines = subnets.map((subnet) => `route add ${subnet} via 2001:db8:50::99 dev under0 proto 116`);
    host.sh(`printf '${lines.join("\\n")}\n' | ip -6 -batch -`);
    const deleted: string[] = [];
    const monitor = watchDeletedRoutes(host, deleted);
    host.start();
    await host.want(...dualPeers(count));
    monitor.drain();
    monitor.close();
    expect(tunnelRoutes(host)).toHaveLength(count);
    expect(deleted.filter((destination) => subnets.includes(destination))).toEqual([]);
  });

  it("knows its routes where the kernel shows only the ids of their nexthop objects", async () => {
    host.sh("sysctl -qw net.ipv4.nexthop_compat_mode=0");
    host.start();
    const peers = dualPeers(300);
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
    expect(host.sh("ip route show proto 116; ip -6 route show proto 116").trim().split("\n")).toHaveLength(2);
    expect(host.reconciler.status()).toMatchObject({ failures: [], conflicts: [], isConverged: true });
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

function dualPeers(count: number): readonly Lease[] {
  return Array.from({ length: count }, (_, at) => dualPeer(at + 2));
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
