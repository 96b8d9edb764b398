/**
 * Compares a table as nft lists it with what a plan wants, and writes the transaction between.
 *
 * Pure. Changes only chains and sets with our names: foreign objects in a table with our name stay.
 */

import { isDeepStrictEqual } from "node:util";
import { isJsonObject, type JsonObject, type JsonValue } from "../../ipam/json.ts";
import { type Drift, unplanned } from "./engine.ts";
import {
  describeTable,
  L4PROTO,
  NFT_CHAINS,
  NFT_ROLES,
  type NftRole,
  type NftTable,
  renderChain,
  renderRule,
  renderRules,
  SOURCES_SET,
  SOURCES_TYPE,
  tableId,
} from "./nft-render.ts";
import { type FamilyRules, IP_PROTOCOL, IPIP_NAMES } from "./rules.ts";

/** One chain as nft lists it. */
interface ListedChain {
  readonly properties: JsonObject;
  readonly rules: readonly JsonValue[];
}

/** One of our tables as nft lists it. */
export interface ListedTable {
  /** The table has flags: it is dormant, and none of its chains sees a packet. */
  readonly hasFlags: boolean;
  readonly chains: ReadonlyMap<string, ListedChain>;
  /** Elements of the set of known sources, null when there is no such set. */
  readonly sources: ReadonlySet<string> | null;
  /** The set of that name is of another kind than ours: of another type, or of ranges. */
  readonly isSetForeign: boolean;
  /** Names of other named objects (sets, maps, flowtables, counters) that are not ours. */
  readonly foreign: readonly string[];
}

/** What to run, and why. Nothing to run when `drifts` is empty. */
export interface NftChange {
  readonly drifts: readonly Drift[];
  readonly commands: readonly JsonObject[];
}

/** How nft lists what we wrote where it has another form for it, by chain name; see `acceptAsWritten`. */
export type WrittenForms = Map<
  string,
  { readonly wanted: JsonValue[]; readonly listed: readonly JsonValue[] }
>;

const OUR_CHAIN_NAMES: ReadonlySet<string> = new Set(NFT_ROLES.map((role) => NFT_CHAINS[role].name));

/** Reads the answer of `nft -j list table`. */
export function parseTable({ family }: NftTable, listing: readonly JsonValue[]): ListedTable {
  const chains = new Map<string, { properties: JsonObject; rules: JsonValue[] }>();
  const foreign: string[] = [];
  let sources: ReadonlySet<string> | null = null;
  let isSetForeign = false;
  let hasFlags = false;
  for (const entry of listing) {
    if (!isJsonObject(entry)) continue;
    for (const [type, value] of Object.entries(entry)) {
      if (!isJsonObject(value)) continue;
      if (type === "table") hasFlags = value.flags !== undefined;
      if (type === "chain") chains.set(String(value.name), { properties: value, rules: [] });
      else if (type === "rule") chains.get(String(value.chain))?.rules.push(withNumbers(value.expr ?? []));
      else if (type === "set" && value.name === SOURCES_SET) {
        sources = elementsOf(value);
        isSetForeign = value.flags !== undefined || value.type !== SOURCES_TYPE[family];
      } else if (type !== "metainfo" && type !== "table") foreign.push(String(value.name));
    }
  }
  return { hasFlags, chains, sources, isSetForeign, foreign };
}

/** nft lists a protocol by the name that protocols(5) of the host has for it. */
function withNumbers(expressions: JsonValue): JsonValue {
  if (!Array.isArray(expressions)) return expressions;
  return expressions.map((expression) => {
    const test = isJsonObject(expression) ? expression.match : undefined;
    if (!isJsonObject(test) || !isDeepStrictEqual(test.left, L4PROTO)) return expression;
    return IPIP_NAMES.includes(String(test.right))
      ? { match: { ...test, right: IP_PROTOCOL.ipip } }
      : expression;
  });
}

/** The transaction from `listed` (null: no such table) to `wanted` (undefined: nothing of ours). */
export function planNftChange(
  table: NftTable,
  wanted: FamilyRules | undefined,
  listed: ListedTable | null,
  written: WrittenForms,
): NftChange {
  const isWanted = wanted !== undefined && NFT_ROLES.some((role) => (wanted.chains[role] ?? []).length > 0);
  if (!isWanted) return listed === null ? NO_CHANGE : removeTable(table, listed);
  if (listed !== null && isOfOtherKind(table, listed)) return rebuildTable(table, wanted, listed, written);
  const parts = [
    createTable(table, listed),
    ...NFT_ROLES.map((role) => changeChain(table, role, render(table, role, wanted), listed, written)),
  ];
  const sources = changeSources(table, wanted, listed);
  return {
    drifts: [...parts.flatMap((part) => part.drifts), ...sources.drifts],
    // The set comes before the rules that name it, and goes after them.
    commands: [
      ...(parts[0]?.commands ?? []),
      ...sources.before,
      ...parts.slice(1).flatMap((part) => part.commands),
      ...sources.after,
    ],
  };
}

/** True when a chain or the set of our name is what cannot be changed into ours. */
function isOfOtherKind(table: NftTable, { chains, isSetForeign }: ListedTable): boolean {
  if (isSetForeign) return true;
  return NFT_ROLES.some((role) => {
    const current = chains.get(NFT_CHAINS[role].name);
    return current !== undefined && !hasProperties(current.properties, renderChain(table, role));
  });
}

/** Removes what has our names and creates it again, in one transaction. */
function rebuildTable(
  table: NftTable,
  wanted: FamilyRules,
  listed: ListedTable,
  written: WrittenForms,
): NftChange {
  const removal = removeTable(table, listed);
  const chains = new Map([...listed.chains].filter(([name]) => !OUR_CHAIN_NAMES.has(name)));
  const left = hasForeign(listed) ? { ...listed, chains, sources: null, isSetForeign: false } : null;
  const { commands } = planNftChange(table, wanted, left, written);
  const drift = `table ${describeTable(table)} has our names for other things`;
  return { drifts: [drift], commands: [...removal.commands, ...commands] };
}

/** True when the table also holds foreign objects. */
function hasForeign({ chains, foreign }: ListedTable): boolean {
  return foreign.length > 0 || [...chains.keys()].some((name) => !OUR_CHAIN_NAMES.has(name));
}

/** The transaction that removes what is ours: the whole table, unless it also holds foreign objects. */
function removeTable(table: NftTable, listed: ListedTable): NftChange {
  const label = `table ${describeTable(table)}`;
  if (!hasForeign(listed)) {
    const id = { family: table.protocol, name: table.name };
    return { drifts: [unplanned(label)], commands: [{ delete: { table: id } }] };
  }
  const chains = [...listed.chains.keys()].filter((name) => OUR_CHAIN_NAMES.has(name));
  const sets = listed.sources === null ? [] : [SOURCES_SET];
  return {
    drifts: [...chains, ...sets].map((name) => unplanned(`${label}: ${name}`)),
    commands: [
      ...chains.map((name) => ({ flush: { chain: { ...tableId(table), name } } })),
      ...chains.map((name) => ({ delete: { chain: { ...tableId(table), name } } })),
      ...sets.map((name) => ({ delete: { set: { ...tableId(table), name } } })),
    ],
  };
}

/**
 * Records how nft lists what was written. Versions of nft differ in small ways; what they list after both of two
 * transactions, with as many rules as were written, is the form of that version. What they list only once may be a
 * foreign edit.
 */
export function acceptAsWritten(
  table: NftTable,
  wanted: FamilyRules,
  [first, second]: readonly [ListedTable | null, ListedTable | null],
  written: WrittenForms,
): void {
  for (const role of NFT_ROLES) {
    const rules = render(table, role, wanted);
    const { name } = NFT_CHAINS[role];
    const shown = second?.chains.get(name)?.rules ?? [];
    if (rules.length !== shown.length || !isDeepStrictEqual(shown, first?.chains.get(name)?.rules)) continue;
    written.set(name, { wanted: rules, listed: shown });
  }
}

const NO_CHANGE: NftChange = { drifts: [], commands: [] };

function createTable(table: NftTable, listed: ListedTable | null): NftChange {
  if (listed?.hasFlags === false) return NO_CHANGE;
  const id = { family: table.protocol, name: table.name };
  const state = listed === null ? "missing" : "dormant";
  // Adding a table without flags enables an existing dormant one.
  return { drifts: [`table ${describeTable(table)} is ${state}`], commands: [{ add: { table: id } }] };
}

function changeChain(
  table: NftTable,
  role: NftRole,
  rules: JsonValue[][],
  listed: ListedTable | null,
  written: WrittenForms,
): NftChange {
  const { name } = NFT_CHAINS[role];
  const current = listed?.chains.get(name);
  const id = { chain: { ...tableId(table), name } };
  const fill = [
    { add: { chain: renderChain(table, role) } },
    { flush: id },
    ...rules.map((rule) => ({ add: { rule: renderRule(table, role, rule) } })),
  ];
  const label = `table ${describeTable(table)}: chain ${name}`;
  if (rules.length === 0) {
    if (current === undefined) return NO_CHANGE;
    return { drifts: [unplanned(label)], commands: [{ flush: id }, { delete: id }] };
  }
  if (current === undefined) return { drifts: [`${label} is missing`], commands: fill };
  if (hasRules(current.rules, rules, written.get(name))) return NO_CHANGE;
  return { drifts: [`${label} holds other rules`], commands: fill };
}

function hasProperties(shown: JsonObject, wanted: JsonObject): boolean {
  return Object.entries(wanted).every(([key, value]) => shown[key] === value);
}

function hasRules(
  shown: readonly JsonValue[],
  wanted: readonly JsonValue[],
  written: { readonly wanted: readonly JsonValue[]; readonly listed: readonly JsonValue[] } | undefined,
): boolean {
  if (isDeepStrictEqual(shown, wanted)) return true;
  return (
    written !== undefined &&
    isDeepStrictEqual(written.wanted, wanted) &&
    isDeepStrictEqual(written.listed, shown)
  );
}

function changeSources(table: NftTable, wanted: FamilyRules, listed: ListedTable | null) {
  const current = listed?.sources ?? null;
  const set = { ...tableId(table), name: SOURCES_SET };
  const label = `table ${describeTable(table)}: set ${SOURCES_SET}`;
  if (wanted.knownSources === null) {
    const isGone = current === null;
    return {
      drifts: isGone ? [] : [unplanned(label)],
      before: [],
      after: isGone ? [] : [{ delete: { set } }],
    };
  }
  const addresses = new Set(wanted.knownSources.map(String));
  const missing = [...addresses].filter((address) => !current?.has(address));
  const stale = [...(current ?? [])].filter((address) => !addresses.has(address));
  const before: JsonObject[] = [];
  if (current === null) {
    before.push({ add: { set: { ...set, type: SOURCES_TYPE[table.family] } } });
  }
  if (missing.length > 0) before.push({ add: { element: { ...set, elem: missing } } });
  if (stale.length > 0) before.push({ delete: { element: { ...set, elem: stale } } });
  const drifts = before.length === 0 ? [] : [`${label} holds other addresses`];
  return { drifts, before, after: [] };
}

/** A role's rules as nft lists them; none when the role is not wanted. */
function render({ family }: NftTable, role: NftRole, { chains, gates }: FamilyRules): JsonValue[][] {
  const rules = chains[role] ?? [];
  return rules.length === 0 ? [] : renderRules(family, rules, gates[role]);
}

function elementsOf(set: JsonObject): ReadonlySet<string> {
  return new Set(Array.isArray(set.elem) ? set.elem.map(String) : []);
}
