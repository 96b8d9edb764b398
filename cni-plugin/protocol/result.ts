/**
 * The result of ADD, as version 1.1.0 has it, and its exact form in every other version. No I/O.
 *
 * Versions 0.1.0 and 0.2.0 know one address per family and no interfaces; 0.3.0 to 0.4.0 name the family of each
 * address; 1.1.0 adds the MTU of interfaces and details of routes.
 */

import {
  Address,
  entriesOf,
  type Family,
  type InterfaceAddress,
  Prefix,
  parseInterfaceAddress,
} from "../../ipam/addresses/ip.ts";
import { CodecError } from "../../ipam/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../ipam/json.ts";
import { asCniError, CNI_CODES, CniError } from "./errors.ts";
import { type CniVersion, isAtLeast, parseVersion } from "./version.ts";

export interface ResultInterface {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
  /** Path of the container's network namespace; absent for interfaces of the host. */
  readonly sandbox?: string;
  /** 1.1.0: for delegates' interfaces of other kinds. */
  readonly socketPath?: string;
  readonly pciID?: string;
}

export interface ResultIp {
  readonly address: InterfaceAddress;
  readonly gateway: Address | null;
  /** Index into `interfaces`; null in results of address management. */
  readonly interface: number | null;
}

export interface ResultRoute {
  readonly destination: Prefix;
  readonly gateway: Address | null;
  /** mtu, advmss, priority, table, scope (1.1.0). */
  readonly extras: JsonObject;
}

export interface CniResult {
  readonly interfaces: readonly ResultInterface[];
  readonly ips: readonly ResultIp[];
  readonly routes: readonly ResultRoute[];
  readonly dns: JsonObject;
}

const ROUTE_EXTRAS = ["mtu", "advmss", "priority", "table", "scope"];

/** Writes a result in the form of `version`. Throws CniError 1 where an old form needs an address and there is none. */
export function formatResult(result: CniResult, version: CniVersion): JsonObject {
  return isAtLeast(version, "0.3.0") ? formatList(result, version) : formatOld(result, version);
}

function formatList(result: CniResult, version: CniVersion): JsonObject {
  const hasDetails = isAtLeast(version, "1.1.0");
  const namesFamily = !isAtLeast(version, "1.0.0");
  const interfaces = result.interfaces.map(({ mtu, socketPath, pciID, ...rest }) => ({
    ...rest,
    ...(hasDetails && mtu !== undefined && { mtu }),
    ...(hasDetails && socketPath !== undefined && { socketPath }),
    ...(hasDetails && pciID !== undefined && { pciID }),
  }));
  const ips = result.ips.map((ip) => ({
    ...(namesFamily && { version: String(ip.address.address.family) }),
    ...(ip.interface !== null && { interface: ip.interface }),
    address: formatAddress(ip.address),
    ...(ip.gateway !== null && { gateway: String(ip.gateway) }),
  }));
  const routes = result.routes.map((route) => ({ ...formatRoute(route), ...(hasDetails && route.extras) }));
  return {
    cniVersion: version,
    ...(interfaces.length > 0 && { interfaces }),
    ...(ips.length > 0 && { ips }),
    ...(routes.length > 0 && { routes }),
    ...((!hasDetails || Object.keys(result.dns).length > 0) && { dns: result.dns }),
  };
}

function formatOld(result: CniResult, version: CniVersion): JsonObject {
  const first: Partial<Record<Family, ResultIp>> = {};
  for (const ip of result.ips) first[ip.address.address.family] ??= ip;
  const old: Record<string, JsonValue> = { cniVersion: version };
  for (const [family, ip] of entriesOf(first)) {
    const routes = result.routes.filter((route) => route.destination.family === family).map(formatRoute);
    old[`ip${family}`] = {
      ip: formatAddress(ip.address),
      ...(ip.gateway !== null && { gateway: String(ip.gateway) }),
      ...(routes.length > 0 && { routes }),
    };
  }
  if (result.ips.length === 0) {
    throw new CniError(
      CNI_CODES.incompatibleVersion,
      `cniVersion ${version} cannot express a result without an address; use 0.3.0 or newer`,
    );
  }
  return { ...old, dns: result.dns };
}

function formatRoute(route: ResultRoute): JsonObject {
  return { dst: String(route.destination), ...(route.gateway !== null && { gw: String(route.gateway) }) };
}

function formatAddress({ address, length }: InterfaceAddress): string {
  return `${address}/${length}`;
}

/**
 * Reads a result of any version: `prevResult`, or a delegate's answer. One that does not say its version has that of
 * the configuration. Throws CniError 1 or 6.
 */
export function parseResult(value: unknown, configVersion: CniVersion): CniResult {
  if (!isJsonObject(value)) {
    throw new CniError(CNI_CODES.decodingFailure, "cannot decode a result: it is not an object");
  }
  const version = parseVersion(value.cniVersion ?? configVersion);
  return asCniError(CNI_CODES.decodingFailure, "cannot decode a result", () =>
    isAtLeast(version, "0.3.0") ? parseList(value) : parseOld(value),
  );
}

function parseList(value: JsonObject): CniResult {
  return {
    interfaces: objectsIn(value, "interfaces").map(parseInterface),
    ips: objectsIn(value, "ips").map((ip) => ({
      address: parseInterfaceAddress(textIn(ip, "address")),
      gateway: addressIn(ip, "gateway"),
      interface: typeof ip.interface === "number" ? ip.interface : null,
    })),
    routes: objectsIn(value, "routes").map(parseRoute),
    dns: isJsonObject(value.dns) ? value.dns : {},
  };
}

function parseOld(value: JsonObject): CniResult {
  const families = ["ip4", "ip6"].map((key) => value[key]).filter(isJsonObject);
  return {
    interfaces: [],
    ips: families.map((ip) => ({
      address: parseInterfaceAddress(textIn(ip, "ip")),
      gateway: addressIn(ip, "gateway"),
      interface: null,
    })),
    routes: families.flatMap((ip) => objectsIn(ip, "routes").map(parseRoute)),
    dns: isJsonObject(value.dns) ? value.dns : {},
  };
}

function parseInterface(value: JsonObject): ResultInterface {
  const { mac, mtu, sandbox, socketPath, pciID } = value;
  return {
    name: textIn(value, "name"),
    ...(typeof mac === "string" && { mac }),
    ...(typeof mtu === "number" && { mtu }),
    ...(typeof sandbox === "string" && { sandbox }),
    ...(typeof socketPath === "string" && { socketPath }),
    ...(typeof pciID === "string" && { pciID }),
  };
}

/** Reads one entry of `routes`, in a result or in a configuration of address management. Throws AddressError or CodecError. */
export function parseRoute(value: JsonObject): ResultRoute {
  const extras = Object.entries(value).filter(([key, extra]) => ROUTE_EXTRAS.includes(key) && extra !== null);
  for (const [key, extra] of extras) {
    if (!Number.isInteger(extra)) throw new CodecError(`"${key}" of a route is not a whole number`);
  }
  return {
    destination: Prefix.parse(textIn(value, "dst")),
    gateway: addressIn(value, "gw"),
    extras: Object.fromEntries(extras),
  };
}

function objectsIn(value: JsonObject, key: string): readonly JsonObject[] {
  const list = value[key] ?? [];
  if (!Array.isArray(list) || !list.every(isJsonObject))
    throw new CodecError(`"${key}" is not a list of objects`);
  return list;
}

function textIn(value: JsonObject, key: string): string {
  const text = value[key];
  if (typeof text !== "string") throw new CodecError(`"${key}" is not a string`);
  return text;
}

/** Go writes an address that is not set as empty text, unless it leaves it out. */
function addressIn(value: JsonObject, key: string): Address | null {
  return (value[key] ?? "") === "" ? null : Address.parse(textIn(value, key));
}
