/** From a network of the engine to one of the store, and back. Pure. */

import {
  type Address,
  entriesOf,
  type Family,
  mapFamilies,
  type PerFamily,
  Prefix,
} from "../../ipam/addresses/ip.ts";
import type { JsonObject } from "../../ipam/json.ts";
import type { NetworkRequest, PoolRequest } from "../../ipam/named-networks/contracts.ts";
import type { NamedNetwork } from "../../ipam/named-networks/named-network.ts";
import { NETWORK_KEY, parseDriverOptions } from "./driver-options.ts";
import type { EngineNetwork, EngineSubnet } from "./engine-model.ts";
import { DRIVER } from "./mirror-plan.ts";
import type { DockerNetwork, PoolRecord } from "./records.ts";

/** What the user asked for. Throws ConfigError. */
export function requestOf(
  engine: EngineNetwork,
  docker: DockerNetwork,
  pools: PerFamily<PoolRequest>,
): NetworkRequest {
  const { mtuBytes, vni, hasBroadcast, others } = parseDriverOptions(docker.options);
  const { name, labels } = engine;
  return { name, labels, pools, vni, mtuBytes, hasBroadcast, options: others, isInternal: docker.isInternal };
}

/** The pools that our IPAM driver drafted for the network. */
export function draftedPools(records: readonly PoolRecord[]): PerFamily<PoolRequest> {
  const pools: Partial<Record<Family, PoolRequest>> = {};
  for (const { family, subnet, isSubnetGiven, allocation, gateway, excluded, lan } of records)
    pools[family] = {
      ...{ subnet: isSubnetGiven ? subnet : null, allocation, gateway, excluded },
      ...(lan !== null && { isLan: true }),
    };
  return pools;
}

/** The pools of a network with another IPAM driver: the user's subnets, or none where the engine chose. */
export function foreignPools(engine: EngineNetwork): PerFamily<PoolRequest> {
  const pools: Partial<Record<Family, PoolRequest>> = {};
  for (const config of engine.subnets) {
    const isChosen = isEngineChoice(config);
    pools[config.subnet.family] = {
      subnet: isChosen ? null : config.subnet,
      gateway: isChosen ? null : config.gateway,
      allocation: null,
      excluded: [],
    };
  }
  return pools;
}

/** libnetwork's default address pools, and the length of what it takes of them. */
const DEFAULT_POOLS = [
  { range: Prefix.parse("172.16.0.0/12"), length: 16 },
  { range: Prefix.parse("192.168.0.0/16"), length: 20 },
  { range: Prefix.parse("fc00::/7"), length: 64 },
];

/** The engine shows a gateway for subnets that it chose; for a user's subnet only where the user gave one. */
function isEngineChoice({ subnet, gateway }: EngineSubnet): boolean {
  if (gateway === null || !gateway.equals(firstOf(subnet))) return false;
  return DEFAULT_POOLS.some(({ range, length }) => range.contains(subnet) && subnet.length === length);
}

function firstOf(subnet: Prefix): Address {
  return subnet.base.plus(1);
}

/** The body of POST /networks/create that makes a named network on this host. */
export function creationOf(network: NamedNetwork): JsonObject {
  const { id, name, labels, options, pools, isInternal, mtuBytes } = network;
  return {
    Name: name,
    CheckDuplicate: true,
    Driver: DRIVER,
    Internal: isInternal,
    EnableIPv6: pools[6] !== undefined,
    // Engines before 28.0 ignore it: there every network has IPv4.
    ...(pools[4] === undefined && { EnableIPv4: false }),
    IPAM: {
      Driver: DRIVER,
      Options: { [NETWORK_KEY]: id },
      Config: entriesOf(pools).map(([, { subnet, gateway }]) => ({
        Subnet: `${subnet}`,
        Gateway: `${gateway}`,
      })),
    },
    Options: { ...options, ...(mtuBytes !== null && { mtu: `${mtuBytes}` }), [NETWORK_KEY]: id },
    Labels: labels,
  };
}

/** The pools of a LAN whose addresses another network driver uses; `taken` are addresses of hosts. */
export function lanPools(records: readonly PoolRecord[], taken: readonly Address[]): PerFamily<PoolRequest> {
  return mapFamilies(draftedPools(records), (pool) => ({
    ...pool,
    excluded: [
      ...pool.excluded,
      ...taken.filter((address) => pool.subnet?.contains(address) === true && !isGatewayOf(pool, address)),
    ],
  }));
}

function isGatewayOf({ gateway }: PoolRequest, address: Address): boolean {
  return gateway?.equals(address) === true;
}
