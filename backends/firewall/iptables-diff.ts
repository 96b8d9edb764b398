/**
 * Compares an iptables dump of one family with what plans want, and writes the restore script between.
 *
 * Pure. Changes our own chains, and in foreign chains only the plain jumps that lead to ours.
 */

import { type Drift, unplanned } from "./engine.ts";
import { DOCKER_USER, isOurChain, type RenderedChain } from "./iptables-render.ts";
import {
  isFinal,
  isPlainJump,
  isSameRule,
  type SavedChain,
  type SavedTable,
  type SavedTables,
  targetOf,
} from "./iptables-save.ts";

/** Input for `iptables-restore --noflush`, and why. Empty when nothing differs. */
export interface IptablesChange {
  readonly drifts: readonly Drift[];
  readonly script: string;
}

/** How iptables-save lists what we wrote where it has another form for it, by chain name. */
export type WrittenForms = Map<
  string,
  { readonly wanted: readonly string[]; readonly saved: readonly string[] }
>;

/** Docker's jumps in FORWARD that stay before ours, so that what they drop is dropped. */
const DOCKER_JUMPS = [DOCKER_USER, "DOCKER-ISOLATION-STAGE-1", "DOCKER-FORWARD"];

/** A tunnel's gate, or that of all bridges of a prefix; of other programs' jumps to our chains none has this form. */
const GATED_JUMP = /^(?:(?:-o \S+ )?-p (?:udp -m udp --dport \d+|4)|-[io] \S+\+) -j \S+$/;

const TABLES = ["filter", "nat", "mangle", "raw"] as const;
const EMPTY_TABLE: SavedTable = new Map();

/** The script from `saved` to `wanted`: one transaction for each table that differs. */
export function planIptablesChange(
  wanted: readonly RenderedChain[],
  saved: SavedTables,
  written: WrittenForms,
): IptablesChange {
  const drifts: Drift[] = [];
  let script = "";
  for (const table of TABLES) {
    const chains = wanted.filter((chain) => chain.table === table);
    const edit = editTable(chains, saved.get(table) ?? EMPTY_TABLE, written);
    if (edit.drifts.length === 0) continue;
    drifts.push(...edit.drifts.map((drift) => `table ${table}: ${drift}`));
    script += [`*${table}`, ...edit.declarations, ...edit.rules, ...edit.removals, "COMMIT", ""].join("\n");
  }
  return { drifts, script };
}

/** True when a table holds foreign rules or chains, or a DROP policy. */
export function isInUse(table: RenderedChain["table"], saved: SavedTables): boolean {
  return [...(saved.get(table) ?? EMPTY_TABLE)].some(([name, chain]) => !isOurChain(name) && isUsed(chain));
}

/** True for a chain that another program has given rules or a policy. */
export function isUsed({ policy, rules }: SavedChain): boolean {
  return policy !== "ACCEPT" || rules.some(isForeign);
}

interface TableEdit {
  readonly drifts: Drift[];
  readonly declarations: string[];
  readonly rules: string[];
  readonly removals: string[];
}

function editTable(chains: readonly RenderedChain[], table: SavedTable, written: WrittenForms): TableEdit {
  const edit: TableEdit = { drifts: [], declarations: [], rules: [], removals: [] };
  for (const each of chains) {
    // Docker's chain exists only on hosts with Docker.
    const chain = each.hook === DOCKER_USER && !table.has(DOCKER_USER) ? { ...each, rules: [] } : each;
    if (chain.rules.length > 0) fillChain(edit, chain, table, written);
    if (chain.hook !== null) placeJump(edit, chain, chain.hook, table);
    if (chain.rules.length === 0) dropChain(edit, chain, table);
  }
  return edit;
}

function fillChain(edit: TableEdit, chain: RenderedChain, table: SavedTable, written: WrittenForms): void {
  const current = table.get(chain.name);
  if (current !== undefined && hasRules(current.rules, chain, written)) return;
  edit.drifts.push(`chain ${chain.name} ${current === undefined ? "is missing" : "holds other rules"}`);
  edit.declarations.push(`:${chain.name} - [0:0]`);
  edit.rules.push(...chain.rules.map((rule) => `-A ${chain.name} ${rule}`));
}

function hasRules(saved: readonly string[], chain: RenderedChain, written: WrittenForms): boolean {
  if (isSameList(saved, chain.rules)) return true;
  const form = written.get(chain.name);
  return form !== undefined && isSameList(form.wanted, chain.rules) && isSameList(form.saved, saved);
}

/** Deletes a chain; while a foreign rule jumps to it, only empties it. */
function dropChain(edit: TableEdit, chain: RenderedChain, table: SavedTable): void {
  const current = table.get(chain.name);
  if (current === undefined) return;
  if (hasForeignReference(chain, table)) {
    if (current.rules.length === 0) return;
    edit.drifts.push(`chain ${chain.name} is emptied, and stays because a foreign rule jumps to it`);
    edit.rules.push(`-F ${chain.name}`);
    return;
  }
  edit.drifts.push(unplanned(`chain ${chain.name}`));
  edit.rules.push(`-F ${chain.name}`);
  edit.removals.push(`-X ${chain.name}`);
}

function hasForeignReference(chain: RenderedChain, table: SavedTable): boolean {
  return [...table].some(
    ([name, { rules }]) =>
      !isOurChain(name) &&
      rules.some((rule) => targetOf(rule) === chain.name && !(name === chain.hook && isOurJump(rule, chain))),
  );
}

/** A jump to the chain without matches, or with those of a gate, which may be of another port or interface. */
function isOurJump(rule: string, { name }: RenderedChain): boolean {
  return isPlainJump(rule, name) || (targetOf(rule) === name && GATED_JUMP.test(rule));
}

/** Makes `parent` jump to the chain exactly once, at an allowed position; or not at all. */
function placeJump(edit: TableEdit, chain: RenderedChain, parent: string, table: SavedTable): void {
  const rules = table.get(parent)?.rules ?? [];
  const jumps = rules.filter((rule) => isOurJump(rule, chain));
  const others = rules.filter((rule) => !jumps.includes(rule));
  const { first, last } = placesIn(parent, others);
  const place = rules.findIndex((rule) => isSameRule(rule, chain.jump));
  const isWanted = chain.rules.length > 0;
  if (isWanted ? jumps.length === 1 && place >= first && place <= last : jumps.length === 0) return;
  edit.drifts.push(driftOfJump(parent, chain.name, jumps.length, isWanted));
  edit.rules.push(...jumps.map((rule) => `-D ${parent} ${rule}`));
  if (!isWanted) return;
  const wanted = chain.position === "first" ? first : last;
  edit.rules.push(
    wanted === others.length ? `-A ${parent} ${chain.jump}` : `-I ${parent} ${wanted + 1} ${chain.jump}`,
  );
}

/**
 * The positions at which a jump takes effect, as numbers of other rules before it: never after a verdict on every packet.
 * In FORWARD it follows Docker's jumps, in DOCKER-USER all rules of the administrator, including later ones.
 */
function placesIn(parent: string, others: readonly string[]): { first: number; last: number } {
  const verdict = others.findIndex(isFinal);
  const last = verdict < 0 ? others.length : verdict;
  // Jumps of the other networks have the same place, in any order.
  if (parent === DOCKER_USER) return { first: others.slice(0, last).findLastIndex(isForeign) + 1, last };
  const isDockers = (rule: string): boolean => DOCKER_JUMPS.some((name) => isPlainJump(rule, name));
  return { first: others.slice(0, last).findLastIndex(isDockers) + 1, last };
}

function isForeign(rule: string): boolean {
  return !isOurChain(targetOf(rule));
}

function driftOfJump(parent: string, name: string, count: number, isWanted: boolean): Drift {
  if (!isWanted) return unplanned(`jump from ${parent} to ${name}`);
  return count === 1
    ? `${parent} jumps to ${name} at the wrong position`
    : `${parent} jumps to ${name} ${count} times`;
}

/** True for equal rules in the same order. */
export function isSameList(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((item, index) => item === right[index]);
}
