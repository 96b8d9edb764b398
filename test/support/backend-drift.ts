/** What `ip`, `bridge` and `wg` can do to any backend's objects on a real kernel, and that all of it heals. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { deviceOf, type KernelObject, ownerOf } from "../../backends/state/kinds/registry.ts";
import type { RouteObject } from "../../backends/state/kinds/route.ts";
import type { Lease } from "../../ipam/leases/lease.ts";
import { type BackendRow, UPLINK, UPLINK_ADDRESSES } from "./backend-table.ts";
import { renderState } from "./render-state.ts";
import { VxlanHost } from "./vxlan-host.ts";

/** WireGuard's drift is found by a reading every two seconds, in a slow guest every ten. */
const REPAIR_MS = 30_000;
/** Settings whose changes the kernel announces (RTNLGRP_IPV4_NETCONF); the others wait for the audit. */
const ANNOUNCED = /\/(forwarding|ip_forward)$/;

/** What other programs have beside ours; it must outlast each repair. */
const FOREIGN = [
  "ip route add 10.2.250.0/24 via 192.168.50.77 dev under0 proto static metric 7",
  "ip route add 172.30.0.0/16 via 192.168.50.78 dev under0 proto 116",
  "ip -6 route add fd99::/48 via 2001:db8:50::77 dev under0 proto static",
  "ip nexthop add id 7 via 192.168.50.79 dev under0",
  "ip neigh add 192.168.50.77 lladdr 02:00:00:00:00:77 dev under0 nud permanent",
];

/** A host of this backend with two peers, and the tests of its damages. */
export function healsDamage(row: BackendRow): void {
  let host: VxlanHost;
  let leases: readonly Lease[];
  beforeAll(async () => {
    const { backend, own, scope } = row;
    host = new VxlanHost({ label: "heals", backend, own, scope });
    host.sh(`ip address add ${UPLINK_ADDRESSES[1]} dev ${UPLINK} nodad`);
    for (const command of FOREIGN) host.sh(command);
    host.start();
    leases = [row.peer(4), row.peer(5, row.places.at(-1))];
    await host.want(...leases);
  });
  afterAll(() => host?.dispose());

  const planned = (...peers: readonly Lease[]): readonly KernelObject[] => [
    ...row.backend.planBase(row.own),
    ...peers.flatMap((lease) => row.backend.planPeer(lease, false)),
  ];

  it("has what was planned, and changes nothing in a steady pass or after a restart", async () => {
    const dump = async () =>
      (await host.port.dump(row.scope)).filter((object) => ownerOf(object, row.scope) !== "foreign");
    expect(renderState(await dump())).toBe(renderState(planned(...leases)));
    const { applied } = host;
    host.reconciler.requestDump("steady?");
    await host.settled();
    await host.restart();
    await host.want(...leases);
    expect(host.applied).toBe(applied);
  });

  const damages = [...damagesOf(planned(row.peer(4)))];
  it.each(damages)('repairs "$command", and nothing of others', async ({ command, isUnannounced }) => {
    const before = shown(host, row);
    host.sh(command);
    if (isUnannounced) host.reconciler.requestDump("audit");
    await expect.poll(() => shown(host, row), { timeout: REPAIR_MS, interval: 20 }).toBe(before);
    await host.settled();
    const { applied } = host;
    host.reconciler.requestDump("steady?");
    await host.settled();
    expect(host.applied).toBe(applied);
    expect(host.reconciler.status()).toMatchObject({ failures: [], conflicts: [], contended: [] });
  });

  it("removes what a peer had that left, and nothing else", async () => {
    await host.want(row.peer(4));
    const dump = await host.port.dump(row.scope);
    const ours = dump.filter((object) => ownerOf(object, row.scope) !== "foreign");
    expect(renderState(ours)).toBe(renderState(planned(row.peer(4))));
    expect(host.sh("ip route show").match(/192\.168\.50\.7[78]/g)).toHaveLength(2);
    await host.want(...leases);
  });
}

interface Damage {
  readonly command: string;
  readonly isUnannounced: boolean;
}

/** One object of each kind and family is damaged. */
function* damagesOf(objects: readonly KernelObject[]): Generator<Damage> {
  const seen = new Set<string>();
  for (const object of objects) {
    const family = object.kind === "route" ? object.destination.family : deviceOf(object);
    const shape = `${object.kind} ${family} ${object.kind === "route" && object.isBlackhole}`;
    if (seen.has(shape)) continue;
    seen.add(shape);
    const isUnannounced = object.kind === "sysctl" && !ANNOUNCED.test(object.path);
    for (const command of commandsFor(object)) yield { command, isUnannounced };
  }
}

function commandsFor(object: KernelObject): readonly string[] {
  switch (object.kind) {
    case "link": {
      const { name } = object;
      return [
        `ip link set ${name} down`,
        `ip link set ${name} mtu 1290`,
        `ip link del ${name}`,
        `ip link del ${name}; ip link add ${name} type bridge`,
      ];
    }
    case "sysctl":
      return [`echo ${object.value === "0" ? 1 : 0} > /proc/sys/${object.path}`];
    case "address": {
      const { device, address } = object;
      return [
        `ip address del ${address.address}/${address.length} dev ${device}`,
        `ip address add ${address.address.plus(77)}/${address.length} dev ${device} nodad`,
      ];
    }
    case "neighbour": {
      const entry = `${object.address} dev ${object.device}`;
      return [
        `ip neigh del ${entry}`,
        `ip neigh replace ${entry} lladdr 02:0f:00:00:00:0f nud permanent`,
        `ip neigh add ${object.address.plus(1)} dev ${object.device} lladdr 02:0f:00:00:00:0f nud permanent`,
      ];
    }
    case "fdb": {
      const entry = `${object.mac} dev ${object.device}`;
      return [
        `bridge fdb del ${entry}`,
        `bridge fdb replace ${entry} dst ${object.remote.family === 4 ? "192.168.9.9" : "2001:db8::9"} self permanent`,
      ];
    }
    case "bridge-fdb":
      return [`bridge fdb del ${object.mac} dev ${object.device} master`];
    case "bridge-port":
      return [`ip link set ${object.device} nomaster`];
    case "route":
      return routeCommands(object);
    case "wg-device":
      return [
        `wg set ${object.device} listen-port 9`,
        `wg genkey | wg set ${object.device} private-key /dev/stdin`,
      ];
    case "wg-peer": {
      const peer = `wg set ${object.device} peer ${object.publicKey}`;
      return [
        `${peer} remove`,
        `${peer} allowed-ips 10.9.9.0/24`,
        `wg genpsk | ${peer} preshared-key /dev/stdin persistent-keepalive 7`,
        `wg set ${object.device} peer $(wg genpsk) allowed-ips 10.2.99.0/24`,
      ];
    }
    case "nexthop":
      return [`ip nexthop flush proto 116`];
  }
}

function routeCommands({ destination, metric, isBlackhole, device }: RouteObject): readonly string[] {
  const ip = `ip -${destination.family}`;
  const key = `${destination}${metric === 0 ? "" : ` metric ${metric}`}`;
  if (isBlackhole) return [`${ip} route del blackhole ${key}`];
  return [
    `${ip} route del ${key}`,
    `${ip} route replace blackhole ${key}`,
    `${ip} route replace ${key} dev lo proto bgp`,
    `${ip} route flush root ${destination} dev ${device} proto 116`,
  ];
}

/** What the administrator's tools show of the host, without numbers that differ after a repair. */
function shown(host: VxlanHost, { scope }: BackendRow): string {
  const perDevice = [...scope.devices].flatMap((device) => [
    `ip -d link show ${device} | sed 's/^[0-9]*: //; s/link-netnsid [0-9]* //'`,
    `ip -o address show dev ${device} scope global | sed 's/^[0-9]*: //' | sort`,
    `ip neigh show dev ${device} nud permanent | sort`,
    `ip -6 neigh show dev ${device} nud permanent | sort`,
    `bridge fdb show dev ${device} | sort`,
    ...[
      "public-key",
      "listen-port",
      "preshared-keys",
      "endpoints",
      "allowed-ips",
      "persistent-keepalive",
    ].map((what) => `wg show ${device} ${what} 2>/dev/null | sort`),
  ]);
  const commands = [
    ...perDevice,
    "ip route show | sort",
    "ip -6 route show | grep -v fe80: | sort",
    "ip nexthop show | sort",
    `ip neigh show dev ${UPLINK} nud permanent`,
    `cat ${[...scope.sysctls, "net/ipv4/ip_forward"].map((path) => `/proc/sys/${path}`).join(" ")}`,
  ];
  return host.sh(`{ ${commands.join("; ")}; } 2>&1; true`);
}
