/** The reconciler over the real kernel: iproute2 shows what was planned. drift.test.ts covers damage, reconciler-families.test.ts IPv6. */

import { afterEach, beforeEach, expect, it } from "vitest";
import type { KernelEvent } from "../../../backends/kernel/port.ts";
import { Planner } from "../../../backends/planner.ts";
import { describeAsRoot } from "../../support/netns.ts";
import { OWN, OWN_MAC, peer, prepareVxlan } from "../../support/vxlan-fixture.ts";
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
