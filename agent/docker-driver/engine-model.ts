/** The engine's networks and containers as values, as far as the driver needs them. Pure. */

import {
  Address,
  FAMILIES,
  type Family,
  mapFamilies,
  type PerFamily,
  Prefix,
} from "../../ipam/addresses/ip.ts";
import { isInterfaceMac, type Mac, parseMac } from "../../ipam/addresses/mac.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../ipam/json.ts";
import { Fields } from "./fields.ts";

export interface EngineSubnet {
  readonly subnet: Prefix;
  readonly gateway: Address | null;
}

export interface EngineNetwork {
  readonly dockerId: string;
  readonly name: string;
  readonly driver: string;
  readonly isInternal: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  readonly ipamDriver: string;
  readonly ipamOptions: Readonly<Record<string, string>>;
  readonly subnets: readonly EngineSubnet[];
  /** Empty in a list of networks, which does not tell. */
  readonly endpoints: readonly EngineEndpoint[];
}

export interface EngineEndpoint {
  readonly endpoint: string;
  /** Null while the container starts. */
  readonly container: string | null;
  /** The container's name. */
  readonly name: string;
  /** Null where the engine does not tell. */
  readonly mac: Mac | null;
  readonly addresses: PerFamily<Address>;
}

export interface EngineContainer {
  readonly id: string;
  readonly name: string;
  readonly isRunning: boolean;
  /** Why its last start failed; "" when it did not. */
  readonly error: string;
  readonly restartPolicy: string;
  readonly networks: readonly ContainerNetwork[];
}

/** What a list tells of a container. */
export interface ListedContainer {
  readonly id: string;
  readonly networks: readonly ListedNetwork[];
}

export interface ListedNetwork {
  /** As the container's start looks for it. */
  readonly name: string;
  /** The engine's id; "" for one that the container was never started on. */
  readonly dockerId: string;
}

export interface ContainerNetwork extends ListedNetwork {
  /** "" while the container does not run. */
  readonly endpoint: string;
  readonly aliases: readonly string[];
}

/** Throws CodecError, ConfigError. */
export function decodeNetworks(answer: JsonValue): readonly EngineNetwork[] {
  return Array.isArray(answer) ? answer.filter(isJsonObject).map(decodeNetwork) : [];
}

export function decodeNetwork(answer: JsonValue): EngineNetwork {
  const network = fieldsOf(answer);
  const ipam = network.object("IPAM");
  return {
    dockerId: network.text("Id"),
    name: network.text("Name"),
    driver: network.text("Driver"),
    isInternal: network.boolean("Internal"),
    labels: network.texts("Labels"),
    options: network.texts("Options"),
    ipamDriver: ipam.text("Driver"),
    ipamOptions: ipam.texts("Options"),
    subnets: ipam.list("Config").flatMap((config) => {
      // Other IPAM drivers take any text: their networks must not hide ours.
      const subnet = Prefix.parseOrNull(config.text("Subnet"));
      return subnet === null ? [] : [{ subnet, gateway: addressIn(config.text("Gateway")) }];
    }),
    endpoints: Object.entries(network.object("Containers").raw).map(([key, value]) =>
      decodeEndpoint(key, fieldsOf(value)),
    ),
  };
}

/**
 * What tells one database of the engine's networks from another: the id of "none", which the engine makes with the
 * database and keeps, unlike "bridge" (docker network ls). Null where there is none.
 */
export function databaseOf(networks: readonly EngineNetwork[]): string | null {
  return networks.find(({ driver }) => driver === "null")?.dockerId ?? null;
}

function decodeEndpoint(key: string, endpoint: Fields): EngineEndpoint {
  const texts: PerFamily<string> = { 4: endpoint.text("IPv4Address"), 6: endpoint.text("IPv6Address") };
  return {
    endpoint: endpoint.text("EndpointID"),
    container: /^[0-9a-f]{64}$/.test(key) ? key : null,
    name: endpoint.text("Name"),
    mac: macIn(endpoint.text("MacAddress")),
    addresses: presentFamilies(mapFamilies(texts, addressIn)),
  };
}

export function decodeContainer(answer: JsonValue): EngineContainer {
  const container = fieldsOf(answer);
  const state = container.object("State");
  const networks = container.object("NetworkSettings").object("Networks").raw;
  return {
    id: container.text("Id"),
    name: container.text("Name").replace(/^\//, ""),
    isRunning: state.boolean("Running"),
    error: state.text("Error"),
    restartPolicy: container.object("HostConfig").object("RestartPolicy").text("Name"),
    networks: Object.entries(networks).map(([name, value]) => {
      const network = fieldsOf(value);
      return {
        name,
        dockerId: network.text("NetworkID"),
        endpoint: network.text("EndpointID"),
        // Aliases hold the short id before 24.0 and what the user gave after it, DNSNames everything.
        aliases: [...textList(network.raw, "Aliases"), ...textList(network.raw, "DNSNames")],
      };
    }),
  };
}

/** In a list of containers. */
export function decodeListedContainers(answer: JsonValue): readonly ListedContainer[] {
  if (!Array.isArray(answer)) return [];
  return answer.filter(isJsonObject).map((item) => {
    const container = new Fields(item);
    const networks = container.object("NetworkSettings").object("Networks").raw;
    return {
      id: container.id("Id"),
      networks: Object.entries(networks).map(([name, network]) => ({
        name,
        dockerId: fieldsOf(network).text("NetworkID"),
      })),
    };
  });
}

function fieldsOf(value: JsonValue | undefined): Fields {
  return new Fields(isJsonObject(value) ? value : {});
}

function textList(object: JsonObject, name: string): readonly string[] {
  const value = object[name];
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}

/** The address before a slash; null for none, and for what is not an address. */
function addressIn(text: string): Address | null {
  return Address.parseOrNull(text.split("/", 1)[0] ?? "");
}

/** Null for what is not the address of one interface. */
function macIn(text: string): Mac | null {
  try {
    const mac = parseMac(text);
    return isInterfaceMac(mac) ? mac : null;
  } catch {
    return null;
  }
}

function presentFamilies<T>(values: PerFamily<T | null>): PerFamily<T> {
  const present: Partial<Record<Family, T>> = {};
  for (const family of FAMILIES) {
    const value = values[family];
    if (value != null) present[family] = value;
  }
  return present;
}
