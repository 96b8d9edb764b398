/** The JSON of one named network in the catalogue. Pure. */

import { type Family, mapFamilies } from "../addresses/ip.ts";
import { CodecError } from "../errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../json.ts";
import {
  addressOf,
  encodePerFamily,
  flagField,
  integerField,
  listField,
  perFamilyField,
  prefixOf,
  textField,
  textMapField,
} from "./fields.ts";
import type { NamedNetwork, NetworkId, Pool } from "./named-network.ts";
import {
  FIRST_VNI,
  LARGEST_MTU,
  LAST_VNI,
  LEAST_MTU,
  mtuProblem,
  nameProblem,
  poolProblem,
} from "./network-rules.ts";
import { isNetworkId } from "./record-names.ts";

/** Of labels, options and excluded addresses of one network. */
const MAX_ENTRIES = 1000;
/** Of a name, for the message about it. */
const MAX_TEXT = 200;

export function encodeNetwork(network: NamedNetwork): JsonObject {
  return {
    id: network.id,
    name: network.name,
    vni: network.vni,
    pools: encodePerFamily(network.pools, encodePool),
    internal: network.isInternal,
    broadcast: network.hasBroadcast,
    mtu: network.mtuBytes,
    labels: network.labels,
    options: network.options,
    created: network.createdSeconds,
  };
}

/** Reads and checks a network. Throws CodecError that says what is wrong. */
export function decodeNetwork(value: JsonValue): NamedNetwork {
  if (!isJsonObject(value)) throw new CodecError("the network is not a JSON object");
  const name = textField(value, "name", MAX_TEXT);
  reject(nameProblem(name));
  const pools = perFamilyField(value, "pools", decodePool);
  const problems = Object.values(mapFamilies(pools, poolProblem));
  reject(problems.find((problem) => problem !== null) ?? null);
  if (problems.length === 0) reject("the network has no pool");
  const mtuBytes = (value.mtu ?? null) === null ? null : integerField(value, "mtu", LEAST_MTU, LARGEST_MTU);
  if (mtuBytes !== null) reject(mtuProblem(mtuBytes, pools[6] !== undefined));
  return {
    id: decodeId(textField(value, "id", MAX_TEXT)),
    name,
    vni: integerField(value, "vni", FIRST_VNI, LAST_VNI),
    pools,
    isInternal: flagField(value, "internal"),
    hasBroadcast: flagField(value, "broadcast"),
    mtuBytes,
    labels: textMapField(value, "labels", MAX_ENTRIES),
    options: textMapField(value, "options", MAX_ENTRIES),
    createdSeconds: integerField(value, "created", 0, Number.MAX_SAFE_INTEGER),
  };
}

function encodePool({ subnet, allocation, gateway, excluded, draft }: Pool): JsonObject {
  return {
    subnet: subnet.toString(),
    allocation: allocation.toString(),
    gateway: gateway.toString(),
    excluded: excluded.map(String),
    ...(draft !== undefined && { draft }),
  };
}

function decodePool(value: JsonValue, family: Family, path: string): Pool {
  if (!isJsonObject(value)) throw new CodecError(`${path} is not an object`, { details: { path } });
  const pool: Pool = {
    subnet: prefixOf(value.subnet, `${path}.subnet`),
    allocation: prefixOf(value.allocation, `${path}.allocation`),
    gateway: addressOf(value.gateway, `${path}.gateway`),
    excluded: listField(value, "excluded", MAX_ENTRIES).map((each) => addressOf(each, `${path}.excluded`)),
    ...(value.draft !== undefined && { draft: decodeId(textField(value, "draft", MAX_TEXT)) }),
  };
  if (pool.subnet.family !== family) reject(`${path}.subnet is ${pool.subnet}, not an IPv${family} prefix`);
  return pool;
}

function decodeId(text: string): NetworkId {
  if (isNetworkId(text)) return text;
  throw new CodecError(`id is "${text}", not 32 hexadecimal digits`);
}

function reject(problem: string | null): void {
  if (problem !== null) throw new CodecError(problem);
}
