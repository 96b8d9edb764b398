/**
 * The requests of Docker's remote network and IPAM drivers as values. Pure.
 *
 * Fields as moby's daemon/libnetwork/drivers/remote/api and ipams/remote/api define them.
 */

import {
  type Address,
  FAMILIES,
  type Family,
  type InterfaceAddress,
  mapFamilies,
  type PerFamily,
  type Prefix,
} from "../../ipam/addresses/ip.ts";
import type { Mac } from "../../ipam/addresses/mac.ts";
import { ConfigError } from "../../ipam/errors.ts";
import type { Fields } from "./fields.ts";

/** The address spaces of our IPAM driver; what CreateNetwork gets from another IPAM driver has another one. */
export const ADDRESS_SPACE = "tulle";

/** daemon/libnetwork/netlabel/labels.go. */
const LABEL = {
  generic: "com.docker.network.generic",
  isInternal: "com.docker.network.internal",
} as const;

export interface PoolCall {
  readonly family: Family;
  readonly subnet: Prefix | null;
  readonly allocation: Prefix | null;
  readonly options: Readonly<Record<string, string>>;
}

export interface AddressCall {
  readonly poolId: string;
  readonly address: Address | null;
  readonly isGateway: boolean;
}

export interface NetworkCall {
  readonly dockerId: string;
  /** Of the families that it has. */
  readonly pools: PerFamily<NetworkPool>;
  readonly isInternal: boolean;
  /** `docker network create -o`. */
  readonly options: Readonly<Record<string, string>>;
}

export interface NetworkPool {
  readonly subnet: Prefix;
  readonly gateway: Address | null;
  /** Chosen by our IPAM driver. */
  readonly isOurs: boolean;
}

/** Names an endpoint in a network. */
export interface EndpointCall {
  readonly dockerId: string;
  readonly endpoint: string;
}

export interface NewEndpointCall extends EndpointCall {
  readonly addresses: PerFamily<InterfaceAddress>;
  readonly mac: Mac | null;
}

/** Throws ConfigError for contradictions, CodecError for what is missing; so do the others. */
export function parsePoolCall(request: Fields): PoolCall {
  const subnet = request.prefix("Pool");
  const allocation = request.prefix("SubPool");
  if (subnet === null && allocation !== null)
    throw new ConfigError(`SubPool is ${allocation}, but Pool is empty: give --subnet with --ip-range`);
  if (subnet !== null && allocation !== null && !subnet.contains(allocation))
    throw new ConfigError(`--ip-range ${allocation} is not inside of --subnet ${subnet}: give a part of it`);
  const family = subnet?.family ?? (request.boolean("V6") ? 6 : 4);
  return { family, subnet, allocation, options: request.texts("Options") };
}

export function parseAddressCall(request: Fields): AddressCall {
  return {
    poolId: request.text("PoolID"),
    address: request.address("Address"),
    isGateway: request.texts("Options").RequestAddressType === "com.docker.network.gateway",
  };
}

export function parseNetworkCall(request: Fields): NetworkCall {
  const options = request.object("Options");
  const lists: PerFamily<readonly Fields[]> = { 4: request.list("IPv4Data"), 6: request.list("IPv6Data") };
  const pools: Partial<Record<Family, NetworkPool>> = {};
  for (const family of FAMILIES) {
    const [first, second] = lists[family] ?? [];
    if (second !== undefined)
      throw new ConfigError(
        `the network has several IPv${family} subnets, ${first?.text("Pool")} and ${second.text("Pool")}: give one --subnet of each family`,
      );
    if (first !== undefined) pools[family] = parsePool(first, family);
  }
  if (pools[4] === undefined && pools[6] === undefined)
    throw new ConfigError("the network has no subnet: create it with --ipam-driver tulle or with --subnet");
  return {
    dockerId: request.id("NetworkID"),
    pools,
    isInternal: options.boolean(LABEL.isInternal),
    options: options.texts(LABEL.generic),
  };
}

function parsePool(data: Fields, family: Family): NetworkPool {
  const subnet = data.prefix("Pool");
  if (subnet === null || subnet.family !== family)
    throw data.wrong("Pool", data.text("Pool"), `an IPv${family} subnet`);
  return {
    subnet,
    gateway: data.interfaceAddress("Gateway")?.address ?? null,
    isOurs: data.text("AddressSpace") === ADDRESS_SPACE,
  };
}

export function parseEndpointCall(request: Fields): EndpointCall {
  return { dockerId: request.id("NetworkID"), endpoint: request.id("EndpointID") };
}

export function parseNewEndpointCall(request: Fields): NewEndpointCall {
  const wanted = request.object("Interface");
  const given: PerFamily<InterfaceAddress | null> = {
    4: wanted.interfaceAddress("Address"),
    6: wanted.interfaceAddress("AddressIPv6"),
  };
  const addresses: Partial<Record<Family, InterfaceAddress>> = {};
  mapFamilies(given, (address, family) => {
    if (address === null) return;
    if (address.address.family !== family)
      throw wanted.wrong(family === 4 ? "Address" : "AddressIPv6", `${address.address}`, `IPv${family}`);
    addresses[family] = address;
  });
  if (addresses[4] === undefined && addresses[6] === undefined)
    throw new ConfigError("the endpoint has no address: create the network with --ipam-driver tulle");
  return { ...parseEndpointCall(request), addresses, mac: wanted.mac("MacAddress") };
}
