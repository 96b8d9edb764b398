/** The reconciler over the real kernel: what the plan says is what iproute2 shows, and drift heals. */

import { execFileSync } from "node:child_process";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Reconciler } from "../../../backends/kernel/reconciler.ts";
import { RtnetlinkPort } from "../../../backends/kernel/rtnetlink-port.ts";
import { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { Planner } from "../../../backends/planner.ts";
import { systemClock } from "../../../ipam/clock.ts";
import type { Lease } from "../../../ipam/lease.ts";
import { silentLogger } from "../../../ipam/log.ts";
import { createNetns, describeAsRoot } from "../../support/netns.ts";
import { OWN, OWN_MAC, peer, peerMap, prepareVxlan, scopeOf } from "../../support/vxlan-fixture.ts";

describeAsRoot("reconciler on the real kernel", () => {
  let host: Host;
  beforeEach(() => {
    host = new Host();
  });
  afterEach(async () => {
    await host.dispose();
  });

  it("makes device, address, routes, neighbours and FDB as iproute2 shows them", async () => {
    await host.want(peer(54), peer(16));
    const link = host.ip("-d -j link show flannel.1")[0];
    expect(link).toMatchObject({ mtu: 1450, address: OWN_MAC, linkinfo: { info_kind: "vxlan" } });
    expect(link.linkinfo.info_data).toMatchObject({
      id: 1,
      port: 8472,
      learning: false,
      local: "192.168.50.1",
    });
    expect(host.text("ip addr show flannel.1")).toContain("inet 10.2.1.0/32 scope global flannel.1");
    expect(host.text("ip route show dev flannel.1")).toContain("10.2.54.0/24 via 10.2.54.0 proto 116 onlink");
    expect(host.text("ip neigh show dev flannel.1")).toContain(
      "10.2.54.0 lladdr 02:00:00:01:00:36 PERMANENT",
    );
    expect(host.text("bridge fdb show dev flannel.1")).toContain(
      "02:00:00:01:00:36 dst 192.168.100.54 self permanent",
    );
    expect(host.text("cat /proc/sys/net/ipv6/conf/flannel.1/accept_ra").trim()).toBe("0");
    expect(host.text("cat /proc/sys/net/ipv4/conf/flannel.1/forwarding").trim()).toBe("1");
  });

  it("changes nothing in a steady pass", async () => {
    await host.want(peer(54), peer(16));
    const before = host.applied;
    host.reconciler.requestDump("test");
    await host.settled();
    expect(host.applied).toBe(before);
  });

  it("follows a peer that changes its address and MAC, and removes one that left", async () => {
    await host.want(peer(54), peer(16));
    await host.want(peer(54, { mac: "02:00:00:02:00:02", publicAddress: "192.168.7.7" }));
    const fdb = host.text("bridge fdb show dev flannel.1");
    expect(fdb).toContain("02:00:00:02:00:02 dst 192.168.7.7");
    expect(fdb).not.toContain("02:00:00:01:00:36");
    expect(host.text("ip route show dev flannel.1")).not.toContain("10.2.16.0/24");
    expect(host.text("ip neigh show dev flannel.1")).not.toContain("10.2.16.0 ");
  });

  const DRIFT: readonly (readonly [string, string])[] = [
    ["a deleted route", "ip route del 10.2.54.0/24"],
    ["a replaced route", "ip route replace 10.2.54.0/24 dev under0"],
    ["a route with another gateway", "ip route replace 10.2.54.0/24 via 10.2.16.0 dev flannel.1 onlink"],
    ["a deleted neighbour", "ip neigh del 10.2.54.0 dev flannel.1"],
    [
      "a changed neighbour",
      "ip neigh replace 10.2.54.0 lladdr 02:0f:00:00:00:0f dev flannel.1 nud permanent",
    ],
    ["a stale neighbour", "ip neigh replace 10.2.54.0 lladdr 02:00:00:01:00:36 dev flannel.1 nud stale"],
    ["a deleted FDB entry", "bridge fdb del 02:00:00:01:00:36 dev flannel.1"],
    [
      "a changed FDB entry",
      "bridge fdb replace 02:00:00:01:00:36 dev flannel.1 dst 192.168.9.9 self permanent",
    ],
    ["a deleted address", "ip addr del 10.2.1.0/32 dev flannel.1"],
    ["a second address", "ip addr add 10.2.1.77/32 dev flannel.1"],
    ["the device down", "ip link set flannel.1 down"],
    ["another MTU", "ip link set flannel.1 mtu 1400"],
    ["another MAC", "ip link set flannel.1 address 02:0e:00:00:00:0e"],
    [
      "a renamed device",
      "ip link set flannel.1 down && ip link set flannel.1 name stolen && ip link set stolen up",
    ],
    ["a deleted device", "ip link del flannel.1"],
    ["a device of another kind", "ip link del flannel.1 && ip link add flannel.1 type bridge"],
    [
      "a device with another VNI",
      "ip link del flannel.1 && ip link add flannel.1 type vxlan id 9 dstport 8472 dev under0",
    ],
    ["the parent down and up", "ip link set under0 down && ip link set under0 up"],
  ];

  it.each(DRIFT)("repairs %s", async (_what, command) => {
    await host.want(peer(54), peer(16));
    const before = host.snapshot();
    host.text(`sh -c '${command}'`);
    await expect.poll(() => host.trySnapshot(), { timeout: 5000, interval: 10 }).toBe(before);
  });

  it("repairs a deleted nexthop object and the routes that went with it", async () => {
    const peers = Array.from({ length: 300 }, (_, index) => peer(index + 2));
    await host.want(...peers);
    const before = host.text("ip route show dev flannel.1");
    expect(before.split("\n").filter((line) => line.includes("nhid"))).toHaveLength(300);
    const [first] = host.ip("-j nexthop show dev flannel.1");
    host.text(`ip nexthop del id ${first.id}`);
    const gateways = () => host.text("ip route show dev flannel.1").replaceAll(/nhid \d+ /g, "");
    await expect.poll(gateways, { timeout: 5000, interval: 10 }).toBe(before.replaceAll(/nhid \d+ /g, ""));
  });

  it("leaves a foreign route that was there first and shows the conflict", async () => {
    host.text("ip route add 10.2.54.0/24 dev under0");
    await host.want(peer(54), peer(16));
    expect(host.text("ip route show 10.2.54.0/24")).toContain("dev under0");
    expect(host.reconciler.status().conflicts).toMatchObject([{ key: "route 10.2.54.0/24 0" }]);
    expect(host.text("ip route show 10.2.16.0/24")).toContain("dev flannel.1");
  });

  it("adopts what flanneld left, and removes its leftovers", async () => {
    for (const command of [
      `ip link add flannel.1 address ${OWN_MAC} mtu 1450 type vxlan id 1 dstport 8472 local 192.168.50.1 dev under0 nolearning`,
      "ip addr add 10.2.1.0/32 dev flannel.1",
      "ip link set flannel.1 up",
      "ip route add 10.2.54.0/24 via 10.2.54.0 dev flannel.1 onlink",
      "ip route add 10.2.99.0/24 via 10.2.99.0 dev flannel.1 onlink",
      "ip route add 10.2.77.0/24 dev under0",
      "ip neigh add 10.2.99.0 lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent",
      "bridge fdb add 02:00:00:00:00:99 dev flannel.1 dst 192.168.1.99 self permanent",
    ]) {
      host.text(command);
    }
    const [{ ifindex }] = host.ip("-j link show flannel.1");
    await host.want(peer(54));
    expect(host.ip("-j link show flannel.1")[0].ifindex).toBe(ifindex);
    expect(host.text("ip route show dev flannel.1").trim()).toBe(
      "10.2.54.0/24 via 10.2.54.0 proto 116 onlink",
    );
    expect(host.text("ip route show 10.2.77.0/24")).toContain("dev under0");
    expect(host.text("ip neigh show dev flannel.1")).not.toContain("10.2.99.0");
    expect(host.text("bridge fdb show dev flannel.1")).not.toContain("02:00:00:00:00:99");
  });

  it("does not touch a device of its name that is something else", async () => {
    host.text("ip link add flannel.1 type bridge");
    host.plan(peer(54));
    await expect.poll(() => host.reconciler.status().conflicts, { timeout: 5000 }).toHaveLength(1);
    expect(host.ip("-d -j link show flannel.1")[0].linkinfo.info_kind).toBe("bridge");
  });
});

/** A namespace with an underlay interface and a running reconciler. */
class Host {
  readonly #netns = createNetns("recon");
  readonly #handle = NetnsHandle.open(this.#netns.path);
  readonly #backend = prepareVxlan();
  readonly #abort = new AbortController();
  readonly #planner: Planner;
  readonly #port: RtnetlinkPort;
  readonly #running: Promise<void>;
  readonly reconciler: Reconciler;
  applied = 0;

  constructor() {
    this.text("ip link set lo up");
    this.text("ip link add under0 type veth peer name under1");
    this.text("ip addr add 192.168.50.1/16 dev under0");
    this.text("ip link set under0 up");
    this.text("ip link set under1 up");
    this.#port = RtnetlinkPort.open({ netns: this.#handle });
    this.#planner = new Planner(this.#backend, this.#port.hasNexthopObjects);
    this.reconciler = new Reconciler({
      port: this.#port,
      scope: scopeOf(this.#backend),
      clock: systemClock,
      logger: silentLogger,
      random: () => 0.5,
      onPass: ({ applied }) => {
        for (const count of Object.values(applied)) this.applied += count;
      },
    });
    this.#running = this.reconciler.run(this.#abort.signal);
  }

  plan(...leases: readonly Lease[]): void {
    this.reconciler.setDesired(this.#planner.plan({ own: OWN, peers: peerMap(...leases) }));
  }

  async want(...leases: readonly Lease[]): Promise<void> {
    this.plan(...leases);
    await this.settled();
  }

  settled(): Promise<void> {
    return this.reconciler.settled(AbortSignal.timeout(5000));
  }

  text(command: string): string {
    const shell = /^sh -c '(.*)'$/s.exec(command);
    const args = shell?.[1] === undefined ? command.split(" ") : ["sh", "-c", shell[1]];
    return execFileSync("ip", ["netns", "exec", this.#netns.name, ...args], { encoding: "utf8" });
  }

  // biome-ignore lint/suspicious/noExplicitAny: iproute2's JSON is asserted field by field
  ip(args: string): any {
    return JSON.parse(this.text(`ip ${args}`));
  }

  snapshot(): string {
    const link = this.text("ip -d link show flannel.1").replace(/^\d+: /, "");
    const parts = ["ip addr show flannel.1 scope global", "ip route show", "ip neigh show dev flannel.1"];
    const lines = parts.flatMap((command) =>
      this.text(command)
        .split("\n")
        .slice(command.includes("addr") ? 2 : 0),
    );
    return [link, ...lines.sort(), ...this.text("bridge fdb show dev flannel.1").split("\n").sort()].join(
      "\n",
    );
  }

  /** While the device is missing there is nothing to show. */
  trySnapshot(): string {
    try {
      return this.snapshot();
    } catch (error) {
      return String(error);
    }
  }

  async dispose(): Promise<void> {
    this.#abort.abort();
    await this.#running;
    this.#port.close();
    this.#handle.close();
    this.#netns.dispose();
  }
}
