/**
 * Compares an iptables dump of one family with what a plan wants, and writes the restore script between.
 *
 * Pure. Touches our own chains, and in other people's chains only the plain jumps that lead to ours.
 */

import type { Drift } from "./engine.ts";
import type { RenderedChain } from "./iptables-render.ts";
import {
  isPlainJump,
  isUnconditional,
  type SavedTable,
  type SavedTables,
  targetOf,
} from "./iptables-save.ts";

/** Input for `iptables-restore --noflush`, and why. Empty when nothing is to be done. */
export interface IptablesChange {
  readonly drifts: readonly Drift[];
  readonly script: string;
}

/** How iptables-save showed a chain right after we wrote it, by chain name. */
export type WrittenForms = Map<
  string,
  { readonly wanted: readonly string[]; readonly saved: readonly string[] }
>;

/** The chain that Docker keeps in front of its own rules for the administrator's. */
const DOCKER_USER = "DOCKER-USER";

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

/** True when a table holds anything that is not ours: rules, chains or a DROP policy. */
export function isInUse(
  table: RenderedChain["table"],
  saved: SavedTables,
  ours: readonly RenderedChain[],
): boolean {
  const names = new Set(ours.map((chain) => chain.name));
  return [...(saved.get(table) ?? EMPTY_TABLE)].some(
    ([name, chain]) =>
      !names.has(name) &&
      (chain.policy !== "ACCEPT" || chain.rules.some((rule) => !names.has(targetOf(rule)))),
  );
}

interface TableEdit {
  readonly drifts: Drift[];
  readonly declarations: string[];
  readonly rules: string[];
  readonly removals: string[];
}

function editTable(chains: readonly RenderedChain[], table: SavedTable, written: WrittenForms): TableEdit {
  const edit: TableEdit = { drifts: [], declarations: [], rules: [], removals: [] };
  for (const chain of chains) {
    if (chain.rules.length > 0) fillChain(edit, chain, table, written);
    for (const [parent, position] of jumpsWanted(chain, table)) {
      placeJump(edit, chain, parent, position, table);
    }
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

/** Deletes a chain; where somebody else's rule still leads to it, only empties it. */
function dropChain(edit: TableEdit, chain: RenderedChain, table: SavedTable): void {
  const current = table.get(chain.name);
  if (current === undefined) return;
  if (hasForeignReference(chain, table)) {
    if (current.rules.length === 0) return;
    edit.drifts.push(`chain ${chain.name} is emptied, and stays because somebody else's rule leads to it`);
    edit.rules.push(`-F ${chain.name}`);
    return;
  }
  edit.drifts.push(`chain ${chain.name} is not wanted`);
  edit.rules.push(`-F ${chain.name}`);
  edit.removals.push(`-X ${chain.name}`);
}

function hasForeignReference(chain: RenderedChain, table: SavedTable): boolean {
  const parents = new Set(jumpsWanted(chain, table).map(([parent]) => parent));
  return [...table].some(([name, { rules }]) =>
    rules.some(
      (rule) =>
        targetOf(rule) === chain.name &&
        !(parents.has(name) && isPlainJump(rule, chain.name)) &&
        !name.startsWith("FLANNEL-"),
    ),
  );
}

/** The chains that must lead to ours, and the place of a new jump there: 1 is the first, null the last. */
function jumpsWanted(chain: RenderedChain, table: SavedTable): [string, number | null][] {
  if (chain.hook === null) return [];
  const jumps: [string, number | null][] = [[chain.hook, chain.position === "first" ? 1 : null]];
  const dockerUser = table.get(DOCKER_USER);
  if (chain.table === "filter" && chain.hook === "FORWARD" && dockerUser !== undefined) {
    jumps.push([DOCKER_USER, placeBeforeEnd(dockerUser.rules)]);
  }
  return jumps;
}

/** Behind the administrator's own rules, but in front of the RETURN with which Docker ends its chain. */
function placeBeforeEnd(rules: readonly string[]): number | null {
  const others = rules.filter((rule) => !targetOf(rule).startsWith("FLANNEL-"));
  const end = others.findIndex(isUnconditional);
  return end < 0 ? null : end + 1;
}

function placeJump(
  edit: TableEdit,
  chain: RenderedChain,
  parent: string,
  position: number | null,
  table: SavedTable,
): void {
  const rules = table.get(parent)?.rules ?? [];
  const jumps = rules.filter((rule) => isPlainJump(rule, chain.name));
  const isWanted = chain.rules.length > 0;
  if (isWanted ? jumps.length === 1 && isReached(rules, chain.name) : jumps.length === 0) return;
  edit.drifts.push(`${parent} leads to ${chain.name} ${jumps.length} times${isWanted ? "" : ", unwanted"}`);
  edit.rules.push(...jumps.map((rule) => `-D ${parent} ${rule}`));
  if (!isWanted) return;
  edit.rules.push(
    position === null ? `-A ${parent} ${chain.jump}` : `-I ${parent} ${position} ${chain.jump}`,
  );
}

/** False when an unconditional verdict stands in front of the jump. */
function isReached(rules: readonly string[], target: string): boolean {
  const jump = rules.findIndex((rule) => isPlainJump(rule, target));
  const end = rules.findIndex(
    (rule) => isUnconditional(rule) && ["DROP", "REJECT", "RETURN"].includes(targetOf(rule)),
  );
  return end < 0 || jump < end;
}

function isSameList(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((item, index) => item === right[index]);
}
