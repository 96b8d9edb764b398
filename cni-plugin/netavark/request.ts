/** What podman and netavark send, checked and typed. No I/O. */

import type { PublishedPort } from "../../backends/attachment/rules/published-port.ts";
import { Address } from "../../ipam/addresses/ip.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "../../ipam/json.ts";
import { wrong } from "../config/wrong.ts";
import { requireContainerId, requireInterfaceName } from "../protocol/call.ts";
import { asCniError, CNI_CODES, CniError } from "../protocol/errors.ts";

/** A network of podman, as `create` makes it and the other verbs get it back. */
export interface PodmanNetwork {
  readonly name: string;
  /** No route to the outside. */
  readonly isInternal: boolean;
  /** The bridge's name; null leaves it to the driver. */
  readonly bridge: string | null;
  /** `podman network create -o KEY=VALUE`. */
  readonly options: Readonly<Record<string, string>>;
  /** All of it. */
  readonly config: JsonObject;
}

/** One interface of one container. */
export interface PodmanContainer {
  readonly network: PodmanNetwork;
  /** Empty when the namespace is gone. */
  readonly netnsPath: string;
  readonly containerId: string;
  /** Empty where podman sends none. */
  readonly containerName: string;
  readonly aliases: readonly string[];
  readonly interfaceName: string;
  /** Requested addresses, at most one per family. */
  readonly addresses: readonly string[];
  /** Requested hardware address; empty for any. */
  readonly mac: string;
  /** As netavark sends them, see parsePorts(): teardown must not fail for what setup rejected. */
  readonly portMappings: readonly JsonValue[];
}

const PROTOCOLS = ["tcp", "udp", "sctp"] as const;
const LARGEST_PORT = 65_535;

/** Throws CniError 6. */
export function parseObject(text: string): JsonObject {
  const value = asCniError(CNI_CODES.decodingFailure, "the input is not JSON", () => parseJson(text));
  if (isJsonObject(value)) return value;
  throw new CniError(CNI_CODES.decodingFailure, "the input is not a JSON object");
}

/** Throws CniError 7 that names the key, the value and the remedy. */
export function parseNetwork(config: JsonObject): PodmanNetwork {
  const options = Object.entries(objectIn(config, "options"));
  for (const [key, value] of options)
    if (typeof value !== "string") throw wrong(`options.${key}`, value, "give text");
  return {
    name: textIn(config, "name"),
    isInternal: config.internal === true,
    bridge: textIn(config, "network_interface") || null,
    options: Object.fromEntries(options) as Record<string, string>,
    config,
  };
}

/** Throws CniError 4 or 7. */
export function parseContainer(request: JsonObject, netnsPath: string): PodmanContainer {
  const own = objectIn(request, "network_options");
  const containerId = textIn(request, "container_id");
  const interfaceName = textIn(own, "interface_name");
  requireContainerId(containerId);
  requireInterfaceName(interfaceName);
  return {
    network: parseNetwork(objectIn(request, "network")),
    netnsPath,
    containerId,
    containerName: textIn(request, "container_name"),
    aliases: textsIn(own, "aliases"),
    interfaceName,
    addresses: textsIn(own, "static_ips"),
    mac: textIn(own, "static_mac"),
    portMappings: listIn(request, "port_mappings"),
  };
}

/** Throws CniError 7. */
export function parsePorts({ portMappings, network }: PodmanContainer): readonly PublishedPort[] {
  if (!network.isInternal || portMappings.length === 0) return portMappings.flatMap(parseMapping);
  throw wrong("port_mappings", portMappings, "an internal network publishes no ports");
}

/** One entry may name several protocols with commas, and a range of ports. */
function parseMapping(value: JsonValue): readonly PublishedPort[] {
  if (!isJsonObject(value)) throw wrong("port_mappings", value, "give a list of objects");
  const count = numberIn(value, "range", 1) || 1;
  const port = {
    hostAddress: parseHostAddress(textIn(value, "host_ip")),
    hostPort: numberIn(value, "host_port"),
    containerPort: numberIn(value, "container_port"),
    count,
  };
  for (const key of ["hostPort", "containerPort"] as const) {
    const last = port[key] + count - 1;
    if (port[key] === 0 || last > LARGEST_PORT)
      throw wrong("port_mappings", value, `give ports from 1 to ${LARGEST_PORT}`);
  }
  return (textIn(value, "protocol") || "tcp").split(",").map((name) => {
    const protocol = PROTOCOLS.find((known) => known === name);
    if (protocol === undefined) throw wrong("port_mappings.protocol", name, `give ${PROTOCOLS.join(", ")}`);
    return { ...port, protocol };
  });
}

/** The kernel discards packets from a container that answer to a loopback address (ip-sysctl, route_localnet). */
function parseHostAddress(text: string): Address | null {
  if (text === "") return null;
  const address = asCniError(CNI_CODES.invalidConfig, "port_mappings.host_ip", () => Address.parse(text));
  if (!address.isLoopback) return address;
  throw wrong(
    "port_mappings.host_ip",
    text,
    "a port cannot be published on a loopback address; take another address of the host, or none for all",
  );
}

function objectIn(value: JsonObject, key: string): JsonObject {
  const found = value[key] ?? {};
  if (isJsonObject(found)) return found;
  throw wrong(key, found, "give it as an object");
}

function textIn(value: JsonObject, key: string): string {
  const found = value[key] ?? "";
  if (typeof found === "string") return found;
  throw wrong(key, found, "give text");
}

function textsIn(value: JsonObject, key: string): readonly string[] {
  return listIn(value, key).map((each) => {
    if (typeof each !== "string") throw wrong(key, each, "give a list of texts");
    return each;
  });
}

function numberIn(value: JsonObject, key: string, fallback = 0): number {
  const found = value[key] ?? fallback;
  if (typeof found === "number" && Number.isInteger(found) && found >= 0 && found <= LARGEST_PORT)
    return found;
  throw wrong(`port_mappings.${key}`, found, `give a number up to ${LARGEST_PORT}`);
}

function listIn(value: JsonObject, key: string): readonly JsonValue[] {
  const found = value[key] ?? [];
  if (Array.isArray(found)) return found;
  throw wrong(key, found, "give it as a list");
}
