/**
 * The text forms of leases: the store key and the JSON value, byte for byte as flannel writes them.
 *
 * Pure. The peer table and the backend decide whether a decoded lease can be used.
 */

import {
  ADDRESS_BITS,
  Address,
  compactPerFamily,
  entriesOf,
  type Family,
  type PerFamily,
  Prefix,
} from "../addresses/ip.ts";
import { CodecError } from "../errors.ts";
import { lookupField } from "../go-json.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "../json.ts";
import type { StoreEntry } from "../stores/contracts.ts";
import type { BackendOffer, Lease, LeaseAttrs, LeaseKey } from "./lease.ts";

const ADDRESS_FIELDS = { 4: "PublicIP", 6: "PublicIPv6" } as const satisfies Record<Family, string>;
const DATA_FIELDS = { 4: "BackendData", 6: "BackendV6Data" } as const satisfies Record<Family, string>;
/** Ours; flannel's decoder ignores keys that it does not know. */
const NODE_ID_FIELD = "NodeID";

/** Ours: true in the value of a lease that its owner is about to delete for good. */
const LEAVING_FIELD = "Leaving";

/** Ours: a list of objects with a BackendType and its data, as the lease itself has them. */
const OTHERS_FIELD = "OtherBackends";

/** More than a host ever publishes; the rest is not read. */
const MOST_OTHERS = 4;

/** flannel's IPv4 address has no null. */
const NO_ADDRESS = "0.0.0.0";

/** The IPv4 part of the key of a lease that has none. */
const NO_SUBNET = Prefix.parse("0.0.0.0/0");

/** What flannel looks for in a key; it anchors the end only. */
const FLANNEL_KEY = /(\d+\.\d+\.\d+\.\d+)-(\d+)(?:&([a-f\d:]+)-(\d+))?$/;

/** `10.2.54.0-24`; `10.2.54.0-24&fd00:2:54::-64` with both families; `0.0.0.0-0&fd00:2:54::-64` with IPv6 only. */
export function formatLeaseKey(subnets: PerFamily<Prefix>): LeaseKey {
  const parts = entriesOf(subnets).map(([, subnet]) => formatPart(subnet));
  return (subnets[4] === undefined ? [formatPart(NO_SUBNET), ...parts] : parts).join("&");
}

function formatPart({ base, length }: Prefix): string {
  return `${base}-${length}`;
}

/**
 * Reads a canonical key, in which an IPv4 part of 0.0.0.0 with any length means IPv6 only: flanneld writes the length of
 * the network configuration there. Throws CodecError for anything else that formatLeaseKey would not write.
 */
export function parseLeaseKey(key: LeaseKey): PerFamily<Prefix> {
  const subnets = readCanonicalKey(key);
  if (subnets === null) {
    throw new CodecError(
      `lease key "${excerpt(key)}" is not a subnet; delete it if none of your programs wrote it`,
      {
        details: { key: excerpt(key) },
      },
    );
  }
  return subnets;
}

/** The subnets that flanneld would read from the end of `key`, host bits cleared; null when it reads none. */
export function readStrayKey(key: string): PerFamily<Prefix> | null {
  const subnets = readCanonicalKey(key);
  if (subnets !== null) return subnets;
  const match = FLANNEL_KEY.exec(key);
  if (!match) return null;
  const [, base4 = "", length4, base6, length6] = match;
  try {
    const parts = [Prefix.of(Address.parse(base4), Number(length4))];
    if (base6 !== undefined) parts.push(Prefix.of(Address.parse(base6), Number(length6)));
    return subnetsOf(parts);
  } catch {
    return null; // digits in the right places, but out of range
  }
}

/** As parseLeaseKey; null for a key that is not canonical. */
export function readCanonicalKey(key: string): PerFamily<Prefix> | null {
  try {
    // Nearly every key has one part, and a start among thousands of leases reads each of them several times.
    if (!key.includes("&")) {
      const subnet = parsePart(key);
      const isSubnet = subnet.family === 4 && subnet.base.value !== 0n && formatPart(subnet) === key;
      return isSubnet ? compactPerFamily((family) => (family === 4 ? subnet : undefined)) : null;
    }
    const parts = key.split("&").map(parsePart);
    const isWhole = parts.map(({ family }) => family).join() === "4,6";
    return isWhole && parts.map(formatPart).join("&") === key ? subnetsOf(parts) : null;
  } catch {
    return null;
  }
}

function parsePart(text: string): Prefix {
  const dash = text.lastIndexOf("-");
  return Prefix.of(Address.parse(text.slice(0, dash)), Number(text.slice(dash + 1)));
}

/** The subnets that a key's parts name; null when they name none. */
function subnetsOf(parts: readonly Prefix[]): PerFamily<Prefix> | null {
  const named = parts.filter(({ base }) => !base.equals(NO_SUBNET.base));
  if (named.length === 0) return null;
  return compactPerFamily((family) => named.find((part) => part.family === family));
}

/** The JSON value in flannel's field order; our node id comes last. */
export function formatLeaseValue(attrs: LeaseAttrs): string {
  const value: Record<string, JsonValue> = {
    PublicIP: attrs.publicAddress[4]?.toString() ?? NO_ADDRESS,
    PublicIPv6: attrs.publicAddress[6]?.toString() ?? null,
  };
  Object.assign(value, offerFields(attrs));
  const { otherBackends = [] } = attrs;
  if (otherBackends.length > 0) value[OTHERS_FIELD] = otherBackends.map(offerFields);
  if (attrs.nodeId !== null) value[NODE_ID_FIELD] = attrs.nodeId;
  return JSON.stringify(value);
}

function offerFields({ backendType, backendData }: BackendOffer): Record<string, JsonValue> {
  const fields: Record<string, JsonValue> = {};
  if (backendType !== "") fields.BackendType = backendType;
  for (const [family, data] of entriesOf(backendData)) fields[DATA_FIELDS[family]] = data;
  return fields;
}

/** Reads a lease value. Throws CodecError with `details.path` where a field has the wrong type. */
export function parseLeaseValue(text: string): LeaseAttrs {
  return readAttrs(parseObject(text));
}

/** The same; null for a damaged value, which the peer table reports. */
export function parseLeaseValueOrNull(text: string): LeaseAttrs | null {
  try {
    return parseLeaseValue(text);
  } catch {
    return null;
  }
}

function readAttrs(root: JsonObject): LeaseAttrs {
  const otherBackends = othersIn(root);
  return {
    publicAddress: compactPerFamily((family) => addressField(root, family)),
    ...readOffer(root),
    ...(otherBackends.length === 0 ? {} : { otherBackends }),
    nodeId: stringField(root, NODE_ID_FIELD) ?? null,
  };
}

function readOffer(root: JsonObject): BackendOffer {
  return {
    backendType: stringField(root, "BackendType") ?? "",
    backendData: compactPerFamily((family) => lookupField(root, DATA_FIELDS[family])),
  };
}

/** Throws CodecError for anything but a list of objects. */
function othersIn(root: JsonObject): readonly BackendOffer[] {
  const others = root[OTHERS_FIELD] ?? [];
  if (Array.isArray(others) && others.every(isJsonObject)) return others.slice(0, MOST_OTHERS).map(readOffer);
  throw new CodecError(`${OTHERS_FIELD} is ${excerpt(JSON.stringify(others))}, not a list of objects`, {
    details: { path: OTHERS_FIELD },
  });
}

/** The value, marked as leaving: its host gives the lease up for good. Throws CodecError for other texts. */
export function markLeaving(text: string): string {
  return JSON.stringify({ ...parseObject(text), [LEAVING_FIELD]: true });
}

/** True for the key of a folder, as Consul's user interface makes it: it names no lease. */
export function isFolderKey({ key, value }: Pick<StoreEntry, "key" | "value">): boolean {
  return value === "" && (key === "" || key.endsWith("/"));
}

/** Decodes a store entry. Throws CodecError that names the key, with `details.key`. */
export function decodeEntry(entry: StoreEntry): Lease {
  const { key, revision, createRevision, storeLeaseId } = entry;
  const subnets = parseLeaseKey(key);
  try {
    const root = parseObject(entry.value);
    const isLeaving = root[LEAVING_FIELD] === true;
    return { key, subnets, attrs: readAttrs(root), revision, createRevision, storeLeaseId, isLeaving };
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    throw new CodecError(`lease ${key}: ${error.message}; restart its host's agent or delete the key`, {
      details: { ...error.details, key },
      cause: error,
    });
  }
}

function parseObject(text: string): JsonObject {
  let root: unknown;
  try {
    root = parseJson(text);
  } catch (error) {
    if (error instanceof CodecError) throw error;
    throw new CodecError(`the value "${excerpt(text)}" is not JSON`, { cause: error });
  }
  if (isJsonObject(root)) return root as JsonObject;
  throw new CodecError(`the value is ${excerpt(text)}, not a JSON object`, { details: { path: "" } });
}

function addressField(root: JsonObject, family: Family): Address | undefined {
  const path = ADDRESS_FIELDS[family];
  const text = stringField(root, path);
  if (text === undefined || text === "" || text === NO_ADDRESS) return undefined;
  try {
    const address = Address.parse(text);
    if (address.family === family) return address;
  } catch {
    // answered like an address of the other family
  }
  throw new CodecError(
    `${path} is "${excerpt(text)}", not an IPv${family} address of ${ADDRESS_BITS[family]} bits`,
    {
      details: { path },
    },
  );
}

function stringField(root: JsonObject, path: string): string | undefined {
  const value = lookupField(root, path);
  if (value === undefined || typeof value === "string") return value;
  throw new CodecError(`${path} is ${excerpt(JSON.stringify(value))}, not text`, { details: { path } });
}

function excerpt(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 60)}…`;
}
