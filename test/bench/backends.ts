/** Cold starts among 5,000 leases by backend and family, alternating, each beside VXLAN over IPv4 in the same round. */

import { rmSync } from "node:fs";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { decodeRoute, encodeRouteDump, RT_TABLE_MAIN } from "../../backends/netlink/route.ts";
import { ROUTE_PROTOCOL } from "../../backends/state/contract/kind.ts";
import { Address, type Family, Prefix } from "../../ipam/addresses/ip.ts";
import { localMacFromSeed } from "../../ipam/addresses/mac.ts";
import { formatLeaseKey, formatLeaseValue } from "../../ipam/leases/lease-codec.ts";
import {
  type BenchHost,
  cpuMilliseconds,
  ip,
  openBenchHost,
  removeDevice,
  startAgent,
  untilTrue,
} from "./support/bench-host.ts";
import type { Bench } from "./support/report.ts";

interface Case {
  readonly name: string;
  readonly type: "vxlan" | "host-gw";
  readonly families: readonly Family[];
}

const CASES: readonly Case[] = [
  { name: "vxlan, IPv4", type: "vxlan", families: [4] },
  { name: "vxlan, both families", type: "vxlan", families: [4, 6] },
  { name: "host-gw, IPv4", type: "host-gw", families: [4] },
  { name: "host-gw, both families", type: "host-gw", families: [4, 6] },
];

const SUBNETS = { 4: Address.parse("10.32.0.0"), 6: Address.parse("fd00:0:0:2000::") } as const;
/** On the link of eth0, as host-gw needs. */
const HOSTS = { 4: Address.parse("172.16.1.1"), 6: Address.parse("fd60::1:1") } as const;
const LENGTHS = { 4: 24, 6: 64 } as const;

export const bench: Bench = async (report, { isQuick }) => {
  const peers = isQuick ? 300 : 5000;
  const host = await openBenchHost();
  const connection = NetlinkConnection.open();
  try {
    ip("address add 172.16.0.1/12 dev eth0");
    ip("address add fd60::1/64 dev eth0 nodad");
    for (const each of CASES) write(host, each, peers);
    const times = new Map<string, { allMs: number; cpuMs: number }[]>(CASES.map(({ name }) => [name, []]));
    for (let round = 0; round < (isQuick ? 1 : 5); round++)
      for (const each of CASES) times.get(each.name)?.push(await coldStart(host, connection, each, peers));
    for (const [name, starts] of times) {
      const title = `${name}, ${peers} leases`;
      report.figure({
        name: `${title}: all programmed`,
        unit: "ms",
        values: starts.map(({ allMs }) => allMs),
      });
      report.figure({
        name: `${title}: processor time`,
        unit: "ms",
        values: starts.map(({ cpuMs }) => cpuMs),
      });
    }
  } finally {
    removeLeftovers();
    connection.close();
    await host.dispose();
  }
};

const prefixOf = ({ name }: Case): string => `/bench/${name.replace(/\W+/g, "-")}`;

/** The configuration and the leases of hosts that do not exist. */
function write(host: BenchHost, each: Case, peers: number): void {
  const { type, families } = each;
  const prefix = prefixOf(each);
  const config = {
    Network: "10.0.0.0/8",
    SubnetLen: LENGTHS[4],
    SubnetMax: "10.31.255.0",
    ...(families.includes(6)
      ? { EnableIPv6: true, IPv6Network: "fd00::/32", IPv6SubnetMax: "fd00:0:0:1fff::" }
      : {}),
    Backend: { Type: type },
  };
  host.etcd.ctl("put", `${prefix}/config`, JSON.stringify(config));
  for (let first = 0; first < peers; first += 100) {
    const puts = Array.from({ length: Math.min(100, peers - first) }, (_, offset) => {
      const { key, value } = lease(each, first + offset);
      return `put ${prefix}/subnets/${key} ${JSON.stringify(value)}`;
    });
    host.etcd.transaction(puts);
  }
}

function lease({ type, families }: Case, index: number): { readonly key: string; readonly value: string } {
  const perFamily = <T>(of: (family: Family) => T) =>
    Object.fromEntries(families.map((family) => [family, of(family)]));
  const seed = Buffer.alloc(32);
  const mac = (family: Family) => {
    seed.writeUInt32BE(index * 2 + (family === 6 ? 1 : 0) + 1, 1);
    return localMacFromSeed(seed);
  };
  return {
    key: formatLeaseKey(
      perFamily((family) => {
        const step = family === 4 ? BigInt(index) << 8n : BigInt(index) << 64n;
        return Prefix.of(Address.of(family, SUBNETS[family].value + step), LENGTHS[family]);
      }),
    ),
    value: formatLeaseValue({
      publicAddress: perFamily((family) => HOSTS[family].plus(index)),
      backendType: type,
      backendData: type === "vxlan" ? perFamily((family) => ({ VNI: 1, VtepMAC: mac(family) })) : {},
      nodeId: null,
    }),
  };
}

async function coldStart(host: BenchHost, connection: NetlinkConnection, each: Case, peers: number) {
  removeLeftovers();
  const startMs = performance.now();
  const agent = startAgent(host, null, prefixOf(each));
  try {
    rmSync(agent.subnetFile, { force: true });
    const areThere = () => each.families.every((family) => countRoutes(connection, family) === peers);
    const allMs = await untilTrue(startMs, areThere, () => agent.output, 120_000);
    return { allMs, cpuMs: cpuMilliseconds(agent.pid) };
  } finally {
    await agent.stop();
  }
}

function countRoutes(connection: NetlinkConnection, family: Family): number {
  const routes = connection.dump(encodeRouteDump(family, { table: RT_TABLE_MAIN }), decodeRoute);
  return routes.filter(({ protocol, table }) => protocol === ROUTE_PROTOCOL && table === RT_TABLE_MAIN)
    .length;
}

function removeLeftovers(): void {
  removeDevice();
  // With a next hop object go the routes that name it.
  ip(`nexthop flush proto ${ROUTE_PROTOCOL}`);
  for (const family of ["-4", "-6"]) ip(`${family} route flush proto ${ROUTE_PROTOCOL}`);
}
