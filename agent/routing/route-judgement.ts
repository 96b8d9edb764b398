/**
 * Why packets to a peer do not take the route that tulled made: a policy rule, a longer foreign route, a route that
 * discards, another device. Pure: what the kernel answered is given.
 */

import {
  type Route,
  RT_TABLE_LOCAL,
  RT_TABLE_MAIN,
  RTN_BLACKHOLE,
  RTN_LOCAL,
  RTN_PROHIBIT,
  RTN_UNICAST,
  RTN_UNREACHABLE,
} from "../../backends/netlink/route.ts";
import {
  FR_ACT_BLACKHOLE,
  FR_ACT_PROHIBIT,
  FR_ACT_TO_TBL,
  FR_ACT_UNREACHABLE,
  type Rule,
} from "../../backends/netlink/rule.ts";
import { type Address, Prefix } from "../../ipam/addresses/ip.ts";

/** The kernel's answer to a lookup: the matching route, or its error by name (`ENETUNREACH`). */
export type LookupAnswer =
  | { readonly type: "route"; readonly route: Route; readonly device: string }
  | { readonly type: "error"; readonly errnoName: string };

export interface Lookup {
  readonly address: Address;
  /** What rules selected by; null when the kernel chose it. */
  readonly source: Address | null;
  /** The devices that a packet to the address may leave by; null for all. */
  readonly expected: readonly string[] | null;
  readonly answer: LookupAnswer;
}

/** What explains an answer. Routes are needed only where a lookup failed. */
export interface RoutingTables {
  readonly rules: readonly Rule[];
  readonly routes: readonly Route[];
}

/** How an obstacle begins that is the lack of a route. */
export const NO_ROUTE = "have no route";

/** linux/rtnetlink.h `enum rt_class_t`, as iproute2 prints them. */
const TABLE_NAMES: ReadonlyMap<number, string> = new Map([
  [253, "default"],
  [RT_TABLE_MAIN, "main"],
  [RT_TABLE_LOCAL, "local"],
]);

const DISCARDING_ACTIONS: ReadonlyMap<number, string> = new Map([
  [FR_ACT_BLACKHOLE, "blackhole"],
  [FR_ACT_UNREACHABLE, "unreachable"],
  [FR_ACT_PROHIBIT, "prohibit"],
]);

const DISCARDING_TYPES: ReadonlyMap<number, string> = new Map([
  [RTN_BLACKHOLE, "blackhole"],
  [RTN_UNREACHABLE, "unreachable"],
  [RTN_PROHIBIT, "prohibit"],
]);

/** What is in the way, as the end of a sentence that begins with the packets; null when nothing is. */
export function obstacleOf(lookup: Lookup, tables: RoutingTables): string | null {
  const { answer, expected } = lookup;
  if (answer.type === "error") return discardedBy(lookup, tables, answer.errnoName);
  const { route, device } = answer;
  if (route.type === RTN_LOCAL) return `do not leave this host, which has that address itself (${device})`;
  if (route.type !== RTN_UNICAST) {
    const type = DISCARDING_TYPES.get(route.type) ?? "foreign";
    return `match the ${type} route ${route.destination} of table ${tableName(route.table)}`;
  }
  if (expected === null || expected.includes(device)) return null;
  const leads = `leave by ${device}, not ${expected.join(" or ")}`;
  const named = `route ${route.destination} of table ${tableName(route.table)}`;
  const rule = ruleTo(route.table, lookup, tables.rules);
  return rule === null ? `${leads}: ${named}` : `${leads}: rule "${formatRule(rule)}", ${named}`;
}

/** The rule as `ip rule` prints it, such as `5270: from all lookup 52`. */
export function formatRule(rule: Rule): string {
  const { priority, source, destination, inputInterface, outputInterface, mark, markMask } = rule;
  const selectors = [
    ...(rule.isInverted ? ["not"] : []),
    `from ${source ?? "all"}`,
    ...(destination === null ? [] : [`to ${destination}`]),
    ...(markMask === 0 ? [] : [`fwmark 0x${mark.toString(16)}${maskText(markMask)}`]),
    ...(inputInterface === "" ? [] : [`iif ${inputInterface}`]),
    ...(outputInterface === "" ? [] : [`oif ${outputInterface}`]),
    ...(rule.hasOthers ? ["…"] : []),
  ];
  const action = DISCARDING_ACTIONS.get(rule.action) ?? `lookup ${tableName(rule.table)}`;
  return `${priority}: ${selectors.join(" ")} ${action}`;
}

function maskText(mask: number): string {
  return mask === 0xffffffff ? "" : `/0x${mask.toString(16)}`;
}

export function tableName(table: number): string {
  return TABLE_NAMES.get(table) ?? `${table}`;
}

/** Rules with selectors that are not decoded, and tables that no other rule leads to, prove nothing. */
function discardedBy(lookup: Lookup, { rules, routes }: RoutingTables, errnoName: string): string {
  const ordered = rulesFor(lookup, rules);
  for (const rule of ordered) {
    if (rule.hasOthers || !matches(rule, lookup)) continue;
    if (DISCARDING_ACTIONS.has(rule.action)) return `are discarded: rule "${formatRule(rule)}"`;
    const route = rule.action === FR_ACT_TO_TBL ? discardingRoute(routes, rule.table, lookup.address) : null;
    if (route === null) continue;
    const type = DISCARDING_TYPES.get(route.type) ?? "";
    return `are discarded: ${type} route ${route.destination} of table ${tableName(route.table)}`;
  }
  // Only what prohibits answers so (linux/net/ipv4/fib_rules.c, fib_semantics.c).
  if (errnoName === "EACCES") return `are discarded (${errnoName})`;
  const route = skippedRoute(lookup.address, ordered, routes);
  if (errnoName !== "ENETUNREACH" || route === null) return `${NO_ROUTE} (${errnoName})`;
  return `do not take the route ${route.destination} of table main: ${noRuleToMain(lookup.address)}`;
}

/** The route of table main that leads to an address and is not asked for, because no rule leads to that table; null otherwise. */
export function skippedRoute(
  address: Address,
  rules: readonly Rule[],
  routes: readonly Route[],
): Route | null {
  const leadsToMain = ({ family, action, table }: Rule): boolean =>
    family === address.family && action === FR_ACT_TO_TBL && table === RT_TABLE_MAIN;
  if (rules.some(leadsToMain)) return null;
  const route = longestRoute(routes, RT_TABLE_MAIN, address);
  return route?.type === RTN_UNICAST ? route : null;
}

/** What the kernel makes at its start, and some programs delete. */
export function noRuleToMain({ family }: Address): string {
  const command = `ip ${family === 6 ? "-6 " : ""}rule add lookup main priority 32766`;
  return `no policy rule leads to that table; "${command}" adds it`;
}

/** The route of a table that an address takes, where that discards; null otherwise. */
export function discardingRoute(routes: readonly Route[], table: number, address: Address): Route | null {
  const first = longestRoute(routes, table, address);
  return first !== null && DISCARDING_TYPES.has(first.type) ? first : null;
}

function longestRoute(routes: readonly Route[], table: number, address: Address): Route | null {
  const [first] = routes
    .filter((route) => route.table === table && route.destination.contains(address))
    .toSorted(
      (left, right) => right.destination.length - left.destination.length || left.metric - right.metric,
    );
  return first ?? null;
}

/** The first rule that sends the lookup to a table which no default rule names; null for main and local. */
function ruleTo(table: number, lookup: Lookup, rules: readonly Rule[]): Rule | null {
  if (TABLE_NAMES.has(table)) return null;
  const candidates = rulesFor(lookup, rules).filter(
    (rule) => rule.action === FR_ACT_TO_TBL && rule.table === table,
  );
  return candidates.find((rule) => matches(rule, lookup)) ?? candidates[0] ?? null;
}

/** Whether a rule selects a packet of this host without a mark, from a socket that is bound to no device. */
function matches(
  { source, destination, mark, markMask, inputInterface, outputInterface, isInverted }: Rule,
  lookup: Lookup,
): boolean {
  const isSelected =
    (destination?.contains(lookup.address) ?? true) &&
    (source === null || (lookup.source !== null && source.contains(lookup.source))) &&
    (markMask === 0 || mark === 0) &&
    (inputInterface === "" || inputInterface === "lo") &&
    outputInterface === "";
  return isSelected !== isInverted;
}

/** Of the address's family, in the kernel's order. */
function rulesFor({ address }: Lookup, rules: readonly Rule[]): readonly Rule[] {
  return rules
    .filter(({ family }) => family === address.family)
    .toSorted((left, right) => left.priority - right.priority);
}

/** A route and the name of its device; empty for none. */
export interface DeviceRoute {
  readonly route: Route;
  readonly device: string;
}

export interface OwnedSubnet<T> {
  readonly subnet: Prefix;
  readonly owner: T;
  /** The devices that packets to it leave by. */
  readonly expected: readonly string[];
  /** Addresses of a peer on the link, of which the next hop is one; null where the device alone tells. */
  readonly routers: readonly Address[] | null;
}

/**
 * Routes of the main table that take a part of one of the subnets elsewhere, each with the subnet. Takes as long as
 * there are routes and subnets, not their product.
 */
export function longerRoutes<T>(
  subnets: readonly OwnedSubnet<T>[],
  routes: readonly DeviceRoute[],
): readonly (OwnedSubnet<T> & { readonly text: string })[] {
  const bySubnet = new Map(subnets.map((one) => [one.subnet.toString(), one]));
  const lengths = [...new Set(subnets.map(({ subnet }) => subnet.length))];
  return routes.flatMap(({ route, device }) => {
    const { destination, table, gateway } = route;
    if (table !== RT_TABLE_MAIN) return [];
    return lengths.flatMap((length) => {
      if (length >= destination.length) return [];
      const found = bySubnet.get(Prefix.of(destination.base, length).toString());
      if (found === undefined || isWay(route, device, found)) return [];
      const text = [
        destination,
        ...(gateway === null ? [] : ["via", gateway]),
        ...(device === "" ? [] : ["dev", device]),
      ];
      return [{ ...found, text: text.join(" ") }];
    });
  });
}

function isWay(
  { type, gateway }: Route,
  device: string,
  { expected, routers }: OwnedSubnet<unknown>,
): boolean {
  if (type !== RTN_UNICAST || !expected.includes(device)) return false;
  return routers === null || routers.some((router) => gateway?.equals(router));
}
