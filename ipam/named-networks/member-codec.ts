/** The JSON of a host's record and of its members in one network. Pure. */

import { type Address, entriesOf, mapFamilies } from "../addresses/ip.ts";
import { isInterfaceMac, type Mac, parseMac } from "../addresses/mac.ts";
import { AddressError, CodecError } from "../errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../json.ts";
import { addressesField, encodePerFamily, listField, parseObject, prefixOf, textField } from "./fields.ts";
import type { HostId, HostRecord, Member } from "./named-network.ts";

/** More interfaces of one host in one network do not fit into the smallest value of the stores. */
const MAX_MEMBERS = 2_000;
/** UTF-16 units of a record's value, a little below the smallest limit of the stores (Consul). */
export const MAX_RECORD_LENGTH = 370_000;

/** Names of a member. */
export const MAX_NAMES = 64;
/** A host name has at most 253 characters (RFC 1035 §2.3.4). */
const MAX_NAME = 253;
const MAX_ID = 128;
const MAX_PREFIXES = 500;

const ENGINES: readonly Member["engine"][] = ["docker", "netavark", "cni"];
/** What a resolver can answer: no blanks, no control characters, no dots at the ends. */
const DNS_NAME = /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/;
const ID = /^[A-Za-z0-9][A-Za-z0-9_.:-]*$/;

export function encodeHost({ host, name, publicAddresses, localPrefixes, version }: HostRecord): string {
  return JSON.stringify({
    host,
    name,
    addresses: encodePerFamily(publicAddresses, String),
    // The widest: a host with a route to each of its containers must not lose its record, and with it all of them.
    localPrefixes: localPrefixes
      .toSorted((a, b) => a.length - b.length)
      .slice(0, MAX_PREFIXES)
      .map(String),
    version,
  });
}

/** The record of `host`. Throws CodecError. */
export function decodeHost(text: string, host: HostId): HostRecord {
  const root = parseRecord(text);
  if (root.host !== host) throw new CodecError(`host is not ${host}, as the record's name says`);
  const publicAddresses = addressesField(root, "addresses");
  for (const [, address] of entriesOf(publicAddresses)) requireUnicast(address, "addresses");
  return {
    host,
    name: textField(root, "name", MAX_NAME),
    publicAddresses,
    localPrefixes: listField(root, "localPrefixes", MAX_PREFIXES).map((each) =>
      prefixOf(each, "localPrefixes"),
    ),
    version: textField(root, "version", MAX_ID),
  };
}

/** JSON with a line for each member, so that a reader decodes only the lines that changed. */
const BEGIN = '{"members":[\n';
const SEPARATOR = ",\n";
const END = "\n]}";

export function encodeMembers(members: readonly Member[]): string {
  return BEGIN + members.map((member) => JSON.stringify(encodeMember(member))).join(SEPARATOR) + END;
}

/** The record of as many members as it can hold, from the first one on. */
export function encodeFitting(members: readonly Member[]): { readonly text: string; readonly count: number } {
  const lines: string[] = [];
  let length = BEGIN.length + END.length;
  for (const member of members) {
    const line = JSON.stringify(encodeMember(member));
    length += line.length + SEPARATOR.length;
    if (length > MAX_RECORD_LENGTH || lines.length === MAX_MEMBERS) break;
    lines.push(line);
  }
  return { text: BEGIN + lines.join(SEPARATOR) + END, count: lines.length };
}

function encodeMember({ endpoint, container, engine, names, mac, addresses }: Member): JsonObject {
  return { endpoint, container, engine, names, mac, addresses: { ...mapFamilies(addresses, String) } };
}

/** What a record of members says: those that can be read, and why the others cannot. */
export interface DecodedMembers {
  readonly members: readonly Member[];
  readonly problems: readonly string[];
  /** Members by their line of text. */
  readonly lines: ReadonlyMap<string, Member>;
}

/**
 * Reads a record of members; members of `before` whose lines did not change are the same objects. Throws CodecError when
 * it is not a record of members at all.
 */
export function decodeMembers(text: string, before: DecodedMembers | null = null): DecodedMembers {
  const members: Member[] = [];
  const problems: string[] = [];
  const lines = new Map<string, Member>();
  const endpoints = new Set<string>();
  for (const { line, read } of partsOf(text)) {
    try {
      const member = before?.lines.get(line) ?? decodeMember(read());
      if (endpoints.has(member.endpoint)) throw new CodecError("endpoint occurs twice");
      endpoints.add(member.endpoint);
      members.push(member);
      lines.set(line, member);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      problems.push(error.message);
    }
  }
  return { members, problems, lines };
}

/** One member's text, and its value. */
interface Part {
  readonly line: string;
  readonly read: () => JsonValue;
}

/**
 * The members of a record, by lines where it has the form that encodeMembers gives. JSON text has no line break inside a
 * string, so that lines which are JSON each are together what the whole is.
 */
function partsOf(text: string): readonly Part[] {
  requireShort(text);
  if (text.startsWith(BEGIN) && text.endsWith(END) && text.length > BEGIN.length + END.length) {
    const lines = text.slice(BEGIN.length, -END.length).split(SEPARATOR);
    if (lines.length > MAX_MEMBERS)
      throw new CodecError(`members has ${lines.length} entries, over ${MAX_MEMBERS}`);
    return lines.map((line) => ({ line, read: () => parseObject(line) }));
  }
  const values = listField(parseObject(text), "members", MAX_MEMBERS);
  return values.map((value) => ({ line: JSON.stringify(value), read: () => value }));
}

/** Reads one member. Names that a resolver cannot answer are left out. Throws CodecError. */
export function decodeMember(value: JsonValue): Member {
  if (!isJsonObject(value)) throw new CodecError("a member is not an object");
  const endpoint = idField(value, "endpoint");
  const container = (value.container ?? null) === null ? null : idField(value, "container");
  const engine = ENGINES.find((each) => each === value.engine);
  if (engine === undefined) throw new CodecError(`engine is not one of ${ENGINES.join(", ")}`);
  const names = listField(value, "names", MAX_NAMES).filter(isDnsName);
  const addresses = addressesField(value, "addresses");
  return { endpoint, container, engine, names, mac: macField(value), addresses };
}

function isDnsName(value: JsonValue): value is string {
  return typeof value === "string" && value.length <= MAX_NAME && DNS_NAME.test(value);
}

function idField(value: JsonObject, name: string): string {
  const id = textField(value, name, MAX_ID);
  if (!ID.test(id)) throw new CodecError(`${name} is "${id}", not an identifier`);
  return id;
}

function macField(value: JsonObject): Mac {
  const text = textField(value, "mac", MAX_ID);
  try {
    const mac = parseMac(text);
    if (isInterfaceMac(mac)) return mac;
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
  }
  throw new CodecError(`mac is "${text}", not the MAC address of an interface`);
}

function requireUnicast(address: Address, path: string): void {
  if (address.isMulticast || address.isLoopback || address.isUnspecified)
    throw new CodecError(`${path} holds ${address}, which no host can be reached at`);
}

function parseRecord(text: string): JsonObject {
  requireShort(text);
  return parseObject(text);
}

function requireShort(text: string): void {
  if (text.length > MAX_RECORD_LENGTH)
    throw new CodecError(`the record has ${text.length} characters, over ${MAX_RECORD_LENGTH}`);
}
