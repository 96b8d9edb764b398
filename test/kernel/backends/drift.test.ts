/**
 * Whatever `ip` and `bridge` can do to the tunnel heals, with few peers and with a thousand, and what others have in the
 * same tables stays as it is.
 */

import { afterEach, beforeEach, expect, it } from "vitest";
import type { PreparedBackend } from "../../../backends/backend.ts";
import { hostGwBackend } from "../../../backends/host-gw.ts";
import { Prefix } from "../../../ipam/addresses/ip.ts";
import type { Lease } from "../../../ipam/leases/lease.ts";
import { createNetns, describeAsRoot } from "../../support/netns.ts";
import { hostFacts, OWN_MAC, peer, prepareVxlan, scopeOf } from "../../support/vxlan-fixture.ts";
import { VxlanHost } from "../../support/vxlan-host.ts";

const SUBNET = "10.2.54.0/24";
const GATEWAY = "10.2.54.0";
const MAC = "02:00:00:01:00:36";
const REMOTE = "192.168.100.54";
const ADD_VXLAN = "ip link del flannel.1; ip link add flannel.1 type vxlan";
const LIKE_OURS = "id 1 dstport 8472 local 192.168.50.1 dev under0 nolearning";

/** Foreign objects next to ours: every one must still exist after each repair. */
const FOREIGN = [
  "ip route add 10.9.250.0/24 via 192.168.50.77 dev under0",
  "ip route add 10.10.250.0/24 via 192.168.50.77 dev under0 proto static metric 7",
  "ip route add 172.30.0.0/16 via 192.168.50.78 dev under0 proto 116",
  "ip nexthop add id 7 via 192.168.50.79 dev under0",
  "ip route add 172.31.0.0/16 nhid 7",
  "ip neigh add 192.168.50.77 lladdr 02:00:00:00:00:77 dev under0 nud permanent",
  "ip addr add 198.51.100.7/32 dev lo",
];

const ROUTES: readonly (readonly [string, string])[] = [
  ["a deleted route", `ip route del ${SUBNET}`],
  ["a replaced route", `ip route replace ${SUBNET} dev under0`],
  ["a route with another gateway", `ip route replace ${SUBNET} via 10.2.16.0 dev flannel.1 onlink`],
  [
    "a route with another metric",
    `ip route del ${SUBNET}; ip route add ${SUBNET} via ${GATEWAY} dev flannel.1 onlink metric 9`,
  ],
  [
    "a route of ours with another metric",
    `ip route del ${SUBNET}; ip route add ${SUBNET} via ${GATEWAY} dev flannel.1 onlink proto 116 metric 9`,
  ],
  ["a route of another protocol", `ip route replace ${SUBNET} via ${GATEWAY} dev flannel.1 onlink proto bgp`],
  [
    "a route with a source address",
    `ip route replace ${SUBNET} via ${GATEWAY} dev flannel.1 onlink proto 116 src 10.2.1.0`,
  ],
  ["a route with an MTU", `ip route replace ${SUBNET} via ${GATEWAY} dev flannel.1 onlink proto 116 mtu 500`],
  [
    "a route with two paths",
    `ip route replace ${SUBNET} proto 116 nexthop via ${GATEWAY} dev flannel.1 onlink nexthop via 10.2.16.0 dev flannel.1 onlink`,
  ],
  ["a route without a gateway", `ip route replace ${SUBNET} dev flannel.1 proto 116`],
  ["a route that came before it", `ip route prepend ${SUBNET} dev under0 proto bgp`],
  ["a route that became unreachable", `ip route replace unreachable ${SUBNET}`],
  ["a route that became a blackhole", `ip route replace blackhole ${SUBNET} proto 116`],
  ["a route of ours to nowhere", "ip route add 10.9.251.0/24 via 10.9.251.0 dev flannel.1 onlink proto 116"],
  ["flushed routes", "ip route flush dev flannel.1 2>/dev/null; true"],
];

const ENTRIES: readonly (readonly [string, string])[] = [
  ["a deleted neighbour", `ip neigh del ${GATEWAY} dev flannel.1`],
  ["a changed neighbour", `ip neigh replace ${GATEWAY} lladdr 02:0f:00:00:00:0f dev flannel.1 nud permanent`],
  ["a stale neighbour", `ip neigh replace ${GATEWAY} lladdr ${MAC} dev flannel.1 nud stale`],
  ["a reachable neighbour", `ip neigh replace ${GATEWAY} lladdr ${MAC} dev flannel.1 nud reachable`],
  ["a neighbour without ARP", `ip neigh replace ${GATEWAY} lladdr ${MAC} dev flannel.1 nud noarp`],
  ["a stray neighbour", "ip neigh add 10.9.251.0 lladdr 02:0f:00:00:00:0f dev flannel.1 nud permanent"],
  ["flushed neighbours", "ip neigh flush dev flannel.1 nud permanent"],
  ["a deleted FDB entry", `bridge fdb del ${MAC} dev flannel.1`],
  ["a changed FDB entry", `bridge fdb replace ${MAC} dev flannel.1 dst 192.168.9.9 self permanent`],
  [
    "an FDB entry with another port",
    `bridge fdb replace ${MAC} dev flannel.1 dst ${REMOTE} port 9999 self permanent`,
  ],
  [
    "an FDB entry with another VNI",
    `bridge fdb replace ${MAC} dev flannel.1 dst ${REMOTE} vni 77 self permanent`,
  ],
  [
    "an FDB entry with an interface",
    `bridge fdb replace ${MAC} dev flannel.1 dst ${REMOTE} via under0 self permanent`,
  ],
  ["an FDB entry that is not permanent", `bridge fdb replace ${MAC} dev flannel.1 dst ${REMOTE} self static`],
  [
    "an FDB entry for all unknown addresses",
    "for last in 8 9; do bridge fdb append 00:00:00:00:00:00 dev flannel.1 dst 192.168.9.$last; done",
  ],
  ["a deleted address", "ip addr del 10.2.1.0/32 dev flannel.1"],
  [
    "an address with another length",
    "ip addr del 10.2.1.0/32 dev flannel.1; ip addr add 10.2.1.0/24 dev flannel.1",
  ],
  ["an address that ends soon", "ip addr change 10.2.1.0/32 dev flannel.1 valid_lft 1 preferred_lft 1"],
  ["a second address", "ip addr add 10.2.1.77/32 dev flannel.1"],
  [
    "flushed addresses and routes",
    "ip addr flush dev flannel.1; ip route flush dev flannel.1 2>/dev/null; true",
  ],
  ["a setting", "echo 0 > /proc/sys/net/ipv4/conf/flannel.1/forwarding"],
  [
    "a setting of all devices",
    "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/ip_forward",
  ],
];

const DEVICES: readonly (readonly [string, string])[] = [
  ["the device down", "ip link set flannel.1 down"],
  [
    "the device without carrier for a moment",
    "ip link set flannel.1 protodown on; sleep 0.5; ip link set flannel.1 protodown off",
  ],
  ["another MTU", "ip link set flannel.1 mtu 1400"],
  ["another MAC", "ip link set flannel.1 address 02:0e:00:00:00:0e"],
  ["another local address", "ip link set flannel.1 type vxlan id 1 local 192.168.50.9"],
  ["learning", "ip link set flannel.1 type vxlan id 1 learning"],
  ["a time to live", "ip link set flannel.1 type vxlan id 1 ttl 1"],
  [
    "a device that became a bridge's port",
    "ip link add bridge9 type bridge; ip link set flannel.1 master bridge9",
  ],
  [
    "a renamed device",
    "ip link set flannel.1 down; ip link set flannel.1 name stolen; ip link set stolen up",
  ],
  ["a deleted device", "ip link del flannel.1"],
  ["a device of another kind", "ip link del flannel.1; ip link add flannel.1 type bridge"],
  ["a device with another VNI", `${ADD_VXLAN} id 9 dstport 8472 dev under0`],
  ["a device with another port", `${ADD_VXLAN} id 1 dstport 4789 local 192.168.50.1 dev under0 nolearning`],
  ["a device without a VNI of its own", `${ADD_VXLAN} external dstport 8472`],
  [
    "a device with another MTU that learns",
    `${ADD_VXLAN} id 1 dstport 8472 dev under0 learning; ip link set flannel.1 mtu 1300`,
  ],
  ["a device with a type of service", `${ADD_VXLAN} ${LIKE_OURS} tos 16`],
  ["a device that answers ARP", `${ADD_VXLAN} ${LIKE_OURS} proxy`],
  ["a device that asks for what it misses", `${ADD_VXLAN} ${LIKE_OURS} l2miss l3miss rsc`],
  ["a device that forbids fragments", `${ADD_VXLAN} ${LIKE_OURS} df set`],
  ["a device with room for one entry", `${ADD_VXLAN} ${LIKE_OURS} maxaddress 1`],
  ["a device with a default destination", `${ADD_VXLAN} ${LIKE_OURS} remote 192.168.9.9`],
];

const PARENTS: readonly (readonly [string, string])[] = [
  ["the parent down and up", "ip link set under0 down; ip link set under0 up"],
  [
    "the parent renamed and named back",
    "ip link set under0 down; ip link set under0 name under9; ip link set under9 name under0; ip link set under0 up",
  ],
  [
    "the parent's address taken and given back",
    "ip addr flush dev under0; ip addr add 192.168.50.1/16 dev under0",
  ],
  ["the parent's MTU changed and changed back", "ip link set under0 mtu 1400; ip link set under0 mtu 1500"],
  [
    "the parent deleted and created again",
    "ip link del under0; ip link add under0 type veth peer name under1; ip addr add 192.168.50.1/16 dev under0; ip link set under0 up; ip link set under1 up",
  ],
];

const NEXTHOPS: readonly (readonly [string, string])[] = [
  ["a deleted nexthop object, with the routes that went along", "ip nexthop del id $ID"],
  ["flushed nexthop objects", "ip nexthop flush proto 116"],
  [
    "a nexthop object that became another's",
    "ip nexthop replace id $ID via 10.2.16.0 dev flannel.1 onlink proto 116",
  ],
];

/** The object is foreign from then on, and stays; the route uses another one. */
const TAKEN: readonly (readonly [string, string])[] = [
  ["a nexthop object that another program took", "ip nexthop replace id $ID blackhole"],
  ["a nexthop object that leads elsewhere", "ip nexthop replace id $ID via 192.168.50.77 dev under0"],
];

const FEW = [peer(54), peer(16)];
/** Enough for nexthop objects. */
const MANY = Array.from({ length: 1000 }, (_, at) => peer(at + 2));

describeAsRoot("drift among two peers with plain routes", () => heals(FEW));
describeAsRoot("drift among 1,000 peers with nexthop objects", () => heals(MANY));

/** What happens to the parent's cable takes nexthop objects on it along. */
const CABLE = [
  "the parent's cable pulled and put back",
  "ip link set under1 down; sleep 1; ip link set under1 up",
] as const;

const LINK = hostFacts({ onLinkPrefixes: [Prefix.parse("192.168.0.0/16")] });

describeAsRoot("drift among two peers on the parent's link", () =>
  healsOnLink(prepareVxlan({ DirectRouting: true }, LINK), FEW),
);
describeAsRoot("drift among 300 peers on the parent's link with nexthop objects", () => {
  const backend = hostGwBackend.parseOptions({}).prepare(LINK, [4], { macFor: () => OWN_MAC });
  const peers = MANY.slice(0, 300).map((lease) => ({
    ...lease,
    attrs: { ...lease.attrs, backendType: "host-gw", backendData: {} },
  }));
  healsOnLink(backend, peers);
});

function healsOnLink(backend: PreparedBackend, peers: readonly Lease[]): void {
  let host: VxlanHost;
  beforeEach(() => {
    host = new VxlanHost({ label: "direct", backend, scope: scopeOf(backend, LINK) }).start();
  });
  afterEach(() => host.dispose());

  it.each([...PARENTS, CABLE])("repairs %s", async (_what, command) => {
    await host.want(...peers);
    const before = host.shown();
    expect(before).toContain("10.2.54.0/24 via 192.168.100.54 dev under0 proto 116");
    host.sh(command);
    await expect.poll(() => host.shown(), { timeout: 8000, interval: 20 }).toBe(before);
  });
}

function heals(peers: readonly Lease[]): void {
  let host: VxlanHost;
  beforeEach(() => {
    host = new VxlanHost({ label: "drift" }).start();
  });
  afterEach(() => host.dispose());

  /** Damages the host by `command`, waits until all is as before, and checks that nothing more is done about it. */
  const expectRepaired = async (command: string): Promise<void> => {
    await host.want(...peers);
    const before = host.shown();
    host.sh(command);
    await expect.poll(() => host.shown(), { timeout: 8000, interval: 20 }).toBe(before);
    await host.settled();
    const { applied } = host;
    host.reconciler.requestDump("steady?");
    await host.settled();
    expect(host.applied).toBe(applied);
    expect(host.reconciler.status()).toMatchObject({ failures: [], conflicts: [], contended: [] });
  };

  it.each([...ROUTES, ...ENTRIES, ...DEVICES])(
    "repairs %s, and nothing of others",
    async (_what, command) => {
      host.sh(FOREIGN.join(" && "));
      await expectRepaired(command);
      expect(host.sh("ip neigh show dev under0 nud permanent")).toContain("192.168.50.77");
    },
  );

  it.each(PARENTS)("repairs %s", async (_what, command) => {
    await expectRepaired(command);
  });

  it("fetches back a device that was moved to another namespace", async () => {
    const other = createNetns("drift-other");
    try {
      await expectRepaired(`ip link set flannel.1 netns ${other.name}`);
      expect(other.exec("ip", ["-o", "link", "show"])).not.toContain("flannel.1");
    } finally {
      other.dispose();
    }
  });

  if (peers === MANY) {
    const commandFor = async (command: string): Promise<string> => {
      host.sh(FOREIGN.join(" && "));
      await host.want(...peers);
      const ids = host.netns.ipJson(["nexthop", "show", "proto", "116"]).map(({ id }) => Number(id));
      expect(ids).toHaveLength(peers.length);
      return command.replace("$ID", String(ids[14]));
    };

    it.each(NEXTHOPS)("repairs %s", async (_what, command) => {
      await expectRepaired(await commandFor(command));
    });

    it("removes the route of a peer that left, although its nexthop object became a blackhole", async () => {
      host.sh(await commandFor("ip nexthop replace id $ID blackhole"));
      await host.want(...peers.filter((one) => one !== peers[14]));
      expect(host.sh(`ip route show ${peers[14]?.subnets[4]}`)).toBe("");
    });

    it.each(TAKEN)("leads a route past %s", async (_what, command) => {
      const routes = () => host.sh("ip route show | sed 's/nhid [0-9]* //' | sort");
      const damage = await commandFor(command);
      const before = routes();
      host.sh(damage);
      await expect.poll(routes, { timeout: 8000, interval: 20 }).toBe(before);
      expect(host.sh("ip nexthop show").trim().split("\n")).toHaveLength(peers.length + 2);
      expect(host.reconciler.status()).toMatchObject({ failures: [], conflicts: [], contended: [] });
    });
  }
}
