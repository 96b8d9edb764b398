/**
 * The address ranges of one host, from the `ipam` part of a configuration in host-local's form. No I/O.
 *
 * Each range set gives a container one address. `exclude`, a list of addresses or prefixes, is our addition.
 */

import { Address, Prefix } from "../../ipam/addresses/ip.ts";
import { DEFAULT_PATHS } from "../../ipam/config/default-paths.ts";
import type { AddressRange, AddressRequest, RangeSet } from "../../ipam/containers/ranges.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../ipam/json.ts";
import { parseArguments } from "../protocol/arguments.ts";
import { asCniError, CNI_CODES } from "../protocol/errors.ts";
import { parseRoute, type ResultRoute } from "../protocol/result.ts";
import { wrong } from "./wrong.ts";

export interface AddressConfig {
  /** Parent of the networks' folders of reservations. */
  readonly dataDir: string;
  readonly request: AddressRequest;
  readonly routes: readonly ResultRoute[];
  /** A file in resolv.conf(5)'s form for the answer's DNS part; empty when there is none. */
  readonly resolvConf: string;
}

/** Reads `ipam`, `runtimeConfig`, `args` and CNI_ARGS. Throws CniError 7 that names the key and the value. */
export function parseAddressConfig(config: JsonObject, args: string): AddressConfig {
  return asCniError(CNI_CODES.invalidConfig, "ipam", () => {
    const ipam = config.ipam;
    if (!isJsonObject(ipam)) throw wrong("ipam", ipam, "give it as an object");
    const runtime = objectIn(config, "runtimeConfig");
    const ranges = [...listIn(runtime, "ipRanges"), ...oldRange(ipam), ...listIn(ipam, "ranges")];
    if (ranges.length === 0) throw wrong("ipam.ranges", ipam.ranges, "give at least one range set");
    const rangeSets = ranges.map(parseRangeSet);
    requireDisjoint(rangeSets);
    return {
      dataDir: pathIn(ipam, "dataDir") || DEFAULT_PATHS.addressDir,
      request: {
        rangeSets,
        excluded: listIn(ipam, "exclude").map(parseExclusion),
        requested: requestedAddresses(config, runtime, args),
      },
      routes: listIn(ipam, "routes").map((route) => parseRoute(asObject("ipam.routes", route))),
      resolvConf: pathIn(ipam, "resolvConf"),
    };
  });
}

/** Where a delegate's configuration keeps its reservations; what is not understood counts as not given. */
export function readDataDir({ ipam }: JsonObject): string {
  const dir = isJsonObject(ipam) ? ipam.dataDir : undefined;
  return typeof dir === "string" && dir !== "" ? dir : DEFAULT_PATHS.addressDir;
}

/** Before `ranges` there was one range, in `ipam` itself. */
function oldRange(ipam: JsonObject): readonly JsonValue[] {
  return typeof ipam.subnet === "string" ? [[ipam]] : [];
}

function parseRangeSet(value: JsonValue): RangeSet {
  if (!Array.isArray(value) || value.length === 0) {
    throw wrong("ipam.ranges", value, "give each range set as a list of ranges");
  }
  const set = value.map(parseRange);
  if (set.some((range) => range.subnet.family !== set[0]?.subnet.family)) {
    throw wrong("ipam.ranges", value, "keep the ranges of one set in one address family");
  }
  return set;
}

function parseRange(value: JsonValue): AddressRange {
  const range = asObject("ipam.ranges", value);
  const subnetText = range.subnet;
  if (typeof subnetText !== "string") throw wrong("subnet", subnetText, "give it as address/length");
  const subnet = Prefix.parse(subnetText);
  if (subnet.size < 4n) throw wrong("subnet", subnetText, "take one of at least four addresses");
  const addressOr = (key: string, fallback: Address): Address => {
    const text = range[key] ?? "";
    if (text === "") return fallback;
    const address = typeof text === "string" ? Address.parse(text) : null;
    if (address === null || !subnet.contains(address)) throw wrong(key, text, `take one inside ${subnet}`);
    return address;
  };
  const first = addressOr("rangeStart", subnet.base.plus(1));
  // The highest IPv4 address is the broadcast address; IPv6 has none.
  const last = addressOr("rangeEnd", subnet.family === 4 ? subnet.last.plus(-1) : subnet.last);
  if (last.value < first.value) throw wrong("rangeEnd", String(last), `take one after rangeStart ${first}`);
  return { subnet, first, last, gateway: addressOr("gateway", subnet.base.plus(1)) };
}

function requireDisjoint(sets: readonly RangeSet[]): void {
  const all = sets.flat();
  for (const [index, range] of all.entries()) {
    const rival = all
      .slice(index + 1)
      .find(
        (other) =>
          other.subnet.family === range.subnet.family &&
          other.first.value <= range.last.value &&
          range.first.value <= other.last.value,
      );
    if (rival !== undefined) throw wrong("ipam.ranges", String(rival.subnet), `it overlaps ${range.subnet}`);
  }
}

function requestedAddresses(config: JsonObject, runtime: JsonObject, args: string): readonly Address[] {
  const { ip } = parseArguments(args);
  const texts = [
    ...(ip === "" ? [] : [ip]),
    ...listIn(objectIn(objectIn(config, "args"), "cni"), "ips"),
    ...listIn(runtime, "ips"),
  ];
  const unique = new Map<string, Address>();
  for (const text of texts) {
    if (typeof text !== "string") throw wrong("ips", text, "give addresses as text");
    const address = Address.parse(text.split("/")[0] ?? "");
    unique.set(String(address), address);
  }
  return [...unique.values()];
}

function parseExclusion(value: JsonValue): Prefix {
  if (typeof value !== "string") throw wrong("ipam.exclude", value, "give addresses or prefixes as text");
  if (value.includes("/")) return Prefix.parse(value);
  const address = Address.parse(value);
  return Prefix.of(address, address.family === 4 ? 32 : 128);
}

function pathIn(ipam: JsonObject, key: string): string {
  const value = ipam[key] ?? "";
  if (typeof value === "string") return value;
  throw wrong(`ipam.${key}`, value, "give a path");
}

function objectIn(value: JsonObject, key: string): JsonObject {
  return asObject(key, value[key] ?? {});
}

function asObject(key: string, value: JsonValue): JsonObject {
  if (isJsonObject(value)) return value;
  throw wrong(key, value, "give it as an object");
}

function listIn(value: JsonObject, key: string): readonly JsonValue[] {
  const list = value[key] ?? [];
  if (!Array.isArray(list)) throw wrong(key, list, "give it as a list");
  return list;
}
