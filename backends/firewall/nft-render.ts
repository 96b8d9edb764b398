/**
 * Renders rules in nft's JSON (libnftables-json(5)), in the form in which nft lists them.
 *
 * Pure. Because the forms are the same, a listing and a plan are compared by equality.
 */

import { ADDRESS_BITS, type Family, type Prefix } from "../../ipam/addresses/ip.ts";
import type { JsonObject, JsonValue } from "../../ipam/json.ts";
import { type NetworkName, nameFor } from "./names.ts";
import {
  type Action,
  CHAIN_ROLES,
  type ChainRole,
  commentOf,
  FIRST_NAMED_VNI,
  type Gate,
  IP_PROTOCOL,
  type Matches,
  matchesAll,
  type Rule,
} from "./rules.ts";

/** nft's name of an address family. */
const NFT_FAMILY = { 4: "ip", 6: "ip6" } as const satisfies Record<Family, string>;

/** flannel's table of each family. */
export const NFT_TABLE = { 4: "flannel-ipv4", 6: "flannel-ipv6" } as const satisfies Record<Family, string>;

/** The table of one network and family. */
export interface NftTable {
  readonly family: Family;
  /** As nft names the family. */
  readonly protocol: (typeof NFT_FAMILY)[Family];
  readonly name: string;
}

export function nftTable(family: Family, network: NetworkName): NftTable {
  return { family, protocol: NFT_FAMILY[family], name: nameFor(NFT_TABLE[family], network) };
}

/** The table for a person: `ip flannel-ipv4`. */
export function describeTable({ protocol, name }: NftTable): string {
  return `${protocol} ${name}`;
}

/** The set of known tunnel sources, one in each family's table. */
export const SOURCES_SET = "tunnel-sources";

/** The type of that set's elements. */
export const SOURCES_TYPE = { 4: "ipv4_addr", 6: "ipv6_addr" } as const satisfies Record<Family, string>;

/** Name, type, hook and priority of a base chain. */
export interface NftChain {
  readonly name: string;
  readonly type: "filter" | "nat";
  readonly hook: "prerouting" | "input" | "forward" | "output" | "postrouting";
  readonly prio: number;
}

/** The roles that have a chain in nft. */
export type NftRole = Exclude<ChainRole, "docker-user" | "name-server" | "overlay-in">;

export const NFT_ROLES: readonly NftRole[] = CHAIN_ROLES.filter(
  (role) => role !== "docker-user" && role !== "name-server" && role !== "overlay-in",
);

/** Priorities as nft names them: raw -300, mangle -150, filter 0, srcnat 100 (linux/netfilter_ipv4.h). */
export const NFT_CHAINS: Readonly<Record<NftRole, NftChain>> = {
  forward: { name: "forward", type: "filter", hook: "forward", prio: 0 },
  masquerade: { name: "postrtg", type: "nat", hook: "postrouting", prio: 100 },
  input: { name: "input", type: "filter", hook: "input", prio: 0 },
  "container-in": { name: "container-in", type: "filter", hook: "prerouting", prio: -300 },
  "tunnel-in": { name: "tunnel-in", type: "filter", hook: "prerouting", prio: -300 },
  "tunnel-out": { name: "tunnel-out", type: "filter", hook: "output", prio: -300 },
  "tunnel-forward": { name: "tunnel-forward", type: "filter", hook: "forward", prio: -150 },
  "tunnel-local": { name: "tunnel-local", type: "filter", hook: "input", prio: -150 },
  "bridge-from": { name: "bridge-from", type: "filter", hook: "forward", prio: -150 },
  "bridge-to": { name: "bridge-to", type: "filter", hook: "forward", prio: -150 },
  "bridge-in": { name: "bridge-in", type: "filter", hook: "input", prio: -150 },
  "bridge-out": { name: "bridge-out", type: "filter", hook: "output", prio: -300 },
  "mss-clamp": { name: "mss-clamp", type: "filter", hook: "forward", prio: -150 },
};

/** Behind the UDP header, 8 bytes, and the flags of RFC 7348 §5, 4 bytes: offset and length in bits. */
const VNI: JsonObject = { payload: { base: "th", offset: 96, len: 24 } };

export const L4PROTO: JsonObject = { meta: { key: "l4proto" } };

/** What identifies what is in a table in a command. */
export function tableId({ protocol, name }: NftTable): { readonly family: string; readonly table: string } {
  return { family: protocol, table: name };
}

/** The properties by which a listing shows a base chain; `policy` is always accept. */
export function renderChain(table: NftTable, role: NftRole): JsonObject {
  return { ...tableId(table), ...NFT_CHAINS[role], policy: "accept" };
}

/** A rule as a command; its expressions equal what a listing shows. */
export function renderRule(table: NftTable, role: NftRole, expr: JsonValue[]): JsonObject {
  return { ...tableId(table), chain: NFT_CHAINS[role].name, expr, comment: commentOf(role) };
}

/** The expressions of a chain's rules; those in front let every packet go that is not for the gate. */
export function renderRules(family: Family, rules: readonly Rule[], gate: Gate = {}): JsonValue[][] {
  const isNotUdp = match("!=", L4PROTO, "udp");
  const exits = [
    ...(gate.udpPort === undefined ? [] : [isNotUdp]),
    ...gateFields(gate).map(([field, value]) => match("!=", field, value)),
  ];
  return [
    ...exits.map((test) => [test, { return: null }]),
    ...rules.map((rule) => renderExpressions(family, rule)),
  ];
}

/** The expressions of a rule: its tests, then what it does. */
function renderExpressions(family: Family, rule: Rule): JsonValue[] {
  return [...renderMatches(family, rule.matches), renderAction(rule.action)];
}

function renderMatches(family: Family, matches: Matches): JsonValue[] {
  const protocol = NFT_FAMILY[family];
  const expressions: JsonValue[] = [];
  const { mark, source, destination } = matches;
  if (mark !== undefined) {
    expressions.push(match("==", { "&": [{ meta: { key: "mark" } }, mark.mask] }, mark.value));
  }
  for (const [field, address] of [
    ["saddr", source],
    ["daddr", destination],
  ] as const) {
    if (address === undefined || matchesAll(address)) continue;
    expressions.push(
      match(address.isNegated ? "!=" : "==", payload(protocol, field), renderPrefix(address.prefix)),
    );
  }
  expressions.push(...gateFields(matches).map(([field, value]) => match("==", field, value)));
  if (matches.tcpPort !== undefined) {
    expressions.push(match("==", payload("tcp", "dport"), matches.tcpPort));
  }
  if (matches.isNamedVni !== undefined) {
    expressions.push(match(">=", VNI, FIRST_NAMED_VNI));
  }
  if (matches.isTcpSyn) {
    expressions.push(match("==", { "&": [payload("tcp", "flags"), ["syn", "rst"]] }, "syn"));
  }
  if (matches.isNotLocal) {
    expressions.push(match("!=", { fib: { result: "type", flags: ["daddr"] } }, "local"));
  }
  if (matches.isOffPath) {
    expressions.push(match("==", { fib: { result: "oif", flags: ["saddr", "iif"] } }, false));
  }
  if (matches.isFromUnknownSource) {
    expressions.push(match("!=", payload(protocol, "saddr"), `@${SOURCES_SET}`));
  }
  return expressions;
}

/** The fields of a gate and what they must be, the cheapest test first. */
function gateFields({
  inputInterface,
  outputInterface,
  udpPort,
  protocol,
}: Gate): [field: JsonObject, value: JsonValue][] {
  const fields: [JsonObject, JsonValue][] = [];
  if (inputInterface !== undefined) fields.push([{ meta: { key: "iifname" } }, inputInterface]);
  if (outputInterface !== undefined) fields.push([{ meta: { key: "oifname" } }, outputInterface]);
  if (udpPort !== undefined) fields.push([payload("udp", "dport"), udpPort]);
  if (protocol !== undefined) fields.push([L4PROTO, IP_PROTOCOL[protocol]]);
  return fields;
}

function renderAction(action: Action): JsonObject {
  switch (action.do) {
    case "masquerade":
      return { masquerade: action.randomFully ? { flags: "fully-random" } : null };
    case "clamp-mss":
      return {
        mangle: {
          key: { "tcp option": { name: "maxseg", field: "size" } },
          value: { rt: { key: "mtu" } },
        },
      };
    case "accept":
    case "drop":
    case "return":
    case "notrack":
      return { [action.do]: null };
  }
}

function renderPrefix(prefix: Prefix): JsonValue {
  if (prefix.length === ADDRESS_BITS[prefix.family]) return prefix.base.toString();
  return { prefix: { addr: prefix.base.toString(), len: prefix.length } };
}

function payload(protocol: string, field: string): JsonObject {
  return { payload: { protocol, field } };
}

function match(op: "==" | "!=" | ">=", left: JsonValue, right: JsonValue): JsonObject {
  return { match: { op, left, right } };
}
