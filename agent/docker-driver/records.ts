/** What the driver remembers about the engine's networks, pools and endpoints, and its JSON. Pure. */

import { Address, type Family, mapFamilies, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import { type Mac, parseMac } from "../../ipam/addresses/mac.ts";
import { CodecError } from "../../ipam/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../ipam/json.ts";
import type { PoolDraft } from "../../ipam/named-networks/contracts.ts";
import { isNetworkId, type NetworkId } from "./network-id.ts";
import { parsePoolId } from "./pool-id.ts";
import type { NetworkPool } from "./requests.ts";

/** A pool that the engine holds: of a draft, or of a named network. */
export interface PoolRecord {
  /** As the engine knows it. */
  readonly poolId: string;
  readonly family: Family;
  readonly subnet: Prefix;
  /** The user gave the subnet. */
  readonly isSubnetGiven: boolean;
  readonly allocation: Prefix | null;
  /** As the user gave it; null for the first address. */
  readonly gateway: Address | null;
  readonly excluded: readonly Address[];
  /** Null while it is a draft. */
  readonly network: NetworkId | null;
  /** The engine's network that uses it; null before CreateNetwork, and with another network driver. */
  readonly dockerId: string | null;
  /** The name of a LAN whose addresses it gives to another network driver, "" for one without; else null. */
  readonly lan: string | null;
}

/** Whether it is a draft that no network of the engine got yet. */
export function isUnclaimed({ network, dockerId }: PoolRecord): boolean {
  return network === null && dockerId === null;
}

/** As the catalogue knows a draft. */
export function draftOf({ poolId, subnet }: PoolRecord): PoolDraft {
  return { ...parsePoolId(poolId), subnet };
}

/** A network of the engine with our driver. */
export interface DockerNetwork {
  readonly dockerId: string;
  readonly pools: PerFamily<NetworkPool>;
  readonly isInternal: boolean;
  /** `docker network create -o`, as given. */
  readonly options: Readonly<Record<string, string>>;
  /** The named network that it is here; null until it is published, adopted or replaced. */
  readonly network: NetworkId | null;
  /** The engine's database in which it was listed last (engine-model.ts); null before that. */
  readonly database: string | null;
}

/** An endpoint between CreateEndpoint and DeleteEndpoint. */
export interface EndpointRecord {
  readonly endpoint: string;
  readonly dockerId: string;
  readonly network: NetworkId;
  readonly mac: Mac;
  readonly addresses: PerFamily<Address>;
  /** Its interface pair exists and other hosts know it. */
  readonly isJoined: boolean;
  /** The container's full id, null while it is unknown. */
  readonly container: string | null;
  /** The container's name first, then aliases and its short id. */
  readonly names: readonly string[];
}

/** What a network removed here shall cause, kept until the store knows. */
export interface DriverRecords {
  readonly pools: readonly PoolRecord[];
  readonly networks: readonly DockerNetwork[];
  /** Named networks that a user of this host removed. */
  readonly removals: readonly NetworkId[];
  /** Networks of the engine that tulled was removing. */
  readonly ownRemovals: readonly string[];
}

export function encodeRecords({ pools, networks, removals, ownRemovals }: DriverRecords): JsonObject {
  return {
    version: 1,
    pools: pools.map((pool) => ({
      ...pool,
      subnet: `${pool.subnet}`,
      allocation: text(pool.allocation),
      gateway: text(pool.gateway),
      excluded: pool.excluded.map(String),
    })),
    networks: networks.map((network) => ({
      ...network,
      pools: perFamilyJson(network.pools, ({ subnet, gateway, isOurs }) => ({
        subnet: `${subnet}`,
        gateway: text(gateway),
        isOurs,
      })),
    })),
    removals,
    ownRemovals,
  };
}

/** Throws CodecError, AddressError. */
export function decodeRecords(json: string): DriverRecords {
  const root = rootOf(json);
  return {
    pools: objects(root, "pools").map((pool) => ({
      poolId: textOf(pool, "poolId"),
      family: pool.family === 6 ? 6 : 4,
      subnet: Prefix.parse(textOf(pool, "subnet")),
      isSubnetGiven: pool.isSubnetGiven === true,
      allocation: optional(pool, "allocation", Prefix.parse),
      gateway: optional(pool, "gateway", Address.parse),
      excluded: texts(pool, "excluded").map(Address.parse),
      network: optional(pool, "network", networkIdOf),
      dockerId: optional(pool, "dockerId", String),
      lan: optional(pool, "lan", String),
    })),
    networks: objects(root, "networks").map((network) => ({
      dockerId: textOf(network, "dockerId"),
      pools: perFamilyOf(network, "pools", (pool) => ({
        subnet: Prefix.parse(textOf(pool, "subnet")),
        gateway: optional(pool, "gateway", Address.parse),
        isOurs: pool.isOurs === true,
      })),
      isInternal: network.isInternal === true,
      options: textMap(network, "options"),
      network: optional(network, "network", networkIdOf),
      // Files of former versions have none.
      database: network.database === undefined ? null : optional(network, "database", String),
    })),
    removals: texts(root, "removals").map(networkIdOf),
    // Files of former versions have none.
    ownRemovals: root.ownRemovals === undefined ? [] : texts(root, "ownRemovals"),
  };
}

export function encodeEndpoints(endpoints: readonly EndpointRecord[]): JsonObject {
  return {
    version: 1,
    endpoints: endpoints.map((endpoint) => ({
      ...endpoint,
      addresses: perFamilyJson(endpoint.addresses, String),
    })),
  };
}

/** Throws CodecError, AddressError. */
export function decodeEndpoints(json: string): readonly EndpointRecord[] {
  return objects(rootOf(json), "endpoints").map((endpoint) => ({
    endpoint: textOf(endpoint, "endpoint"),
    dockerId: textOf(endpoint, "dockerId"),
    network: networkIdOf(textOf(endpoint, "network")),
    mac: parseMac(textOf(endpoint, "mac")),
    addresses: mapFamilies(perFamilyValues(endpoint, "addresses"), (value) => Address.parse(String(value))),
    isJoined: endpoint.isJoined === true,
    container: optional(endpoint, "container", String),
    names: texts(endpoint, "names"),
  }));
}

function rootOf(json: string): JsonObject {
  const root: unknown = JSON.parse(json);
  if (!isJsonObject(root)) throw new CodecError("not a JSON object");
  if (root.version !== 1) throw new CodecError(`version ${JSON.stringify(root.version)} is not 1`);
  return root;
}

function objects(object: JsonObject, name: string): readonly JsonObject[] {
  const value = object[name];
  if (!Array.isArray(value) || !value.every(isJsonObject)) throw new CodecError(`${name} is not a list`);
  return value;
}

function texts(object: JsonObject, name: string): readonly string[] {
  const value = object[name];
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string"))
    throw new CodecError(`${name} is not a list of texts`);
  return value;
}

function textOf(object: JsonObject, name: string): string {
  const value = object[name];
  if (typeof value !== "string") throw new CodecError(`${name} is not a text`);
  return value;
}

function textMap(object: JsonObject, name: string): Readonly<Record<string, string>> {
  const value = object[name];
  if (!isJsonObject(value)) throw new CodecError(`${name} is not an object`);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, String(item)]));
}

function optional<T>(object: JsonObject, name: string, parse: (text: string) => T): T | null {
  return object[name] === null ? null : parse(textOf(object, name));
}

function networkIdOf(value: string): NetworkId {
  if (!isNetworkId(value)) throw new CodecError(`"${value}" is not the id of a network`);
  return value;
}

function perFamilyValues(object: JsonObject, name: string): PerFamily<JsonValue> {
  const value = object[name];
  if (!isJsonObject(value)) throw new CodecError(`${name} is not an object`);
  return value as PerFamily<JsonValue>;
}

function perFamilyOf<T>(object: JsonObject, name: string, parse: (value: JsonObject) => T): PerFamily<T> {
  return mapFamilies(perFamilyValues(object, name), (value) => {
    if (!isJsonObject(value)) throw new CodecError(`${name} holds something that is not an object`);
    return parse(value);
  });
}

function perFamilyJson<T>(values: PerFamily<T>, encode: (value: T) => JsonValue): JsonObject {
  return { ...mapFamilies(values, encode) } as JsonObject;
}

function text(value: Prefix | Address | null): string | null {
  return value === null ? null : `${value}`;
}
