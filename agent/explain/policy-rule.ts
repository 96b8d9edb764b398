/** Which policy rule sent a lookup to its table. Pure; the kernel does not say it. */

import {
  FR_ACT_BLACKHOLE,
  FR_ACT_PROHIBIT,
  FR_ACT_TO_TBL,
  FR_ACT_UNREACHABLE,
  type Rule,
} from "../../backends/netlink/rule.ts";
import type { Address } from "../../ipam/addresses/ip.ts";
import type { Truth } from "./packet.ts";

export interface RuleSelectors {
  readonly destination: Address;
  /** Null where the kernel chooses it after the lookup. */
  readonly source: Address | null;
  /** Null for a packet that this host makes: rules call that `lo`. */
  readonly inputInterface: string | null;
  /** Of a socket that is bound to a device; null for others. */
  readonly outputInterface: string | null;
  readonly mark: number;
}

export interface RuleChoice {
  /** Null where none is known to match. */
  readonly rule: Rule | null;
  /** Rules before it with conditions that are not decoded. */
  readonly doubtful: readonly Rule[];
}

/** The first rule that selects the packet and leads to `table`. */
export function ruleTo(table: number, rules: readonly Rule[], selectors: RuleSelectors): RuleChoice {
  const leading = inOrder(rules).filter((rule) => rule.action === FR_ACT_TO_TBL && rule.table === table);
  return choose(leading, selectors);
}

/** The first rule that selects the packet and discards it. */
export function discardingRule(rules: readonly Rule[], selectors: RuleSelectors): RuleChoice {
  return choose(
    inOrder(rules).filter(({ action }) => ERRNOS.has(action)),
    selectors,
  );
}

/** The tables that rules lead to which are known to select the packet, in the order in which the kernel asks them. */
export function tablesFor(rules: readonly Rule[], selectors: RuleSelectors): readonly number[] {
  return inOrder(rules)
    .filter((rule) => rule.action === FR_ACT_TO_TBL && selects(rule, selectors) === true)
    .map(({ table }) => table);
}

/**
 * Of rules with conditions that are not decoded, the one that answers a lookup with the error that the kernel gave. Null where the
 * kernel would send on the same packet of this host: then only a rule for packets that come by a device, or from a source.
 */
export function suspectedRule(doubtful: readonly Rule[], errnoName: string | null): Rule | null {
  const isSuspect = ({ action, inputInterface, source }: Rule): boolean =>
    errnoName === null ? inputInterface !== "" || source !== null : ERRNOS.get(action) === errnoName;
  return doubtful.find(isSuspect) ?? null;
}

/** fib4_rule_action in net/ipv4/fib_rules.c, __fib6_rule_action in net/ipv6/fib6_rules.c */
const ERRNOS: ReadonlyMap<number, string> = new Map([
  [FR_ACT_BLACKHOLE, "EINVAL"],
  [FR_ACT_UNREACHABLE, "ENETUNREACH"],
  [FR_ACT_PROHIBIT, "EACCES"],
]);

function choose(rules: readonly Rule[], selectors: RuleSelectors): RuleChoice {
  const doubtful: Rule[] = [];
  for (const rule of rules) {
    const truth = selects(rule, selectors);
    if (truth === true) return { rule, doubtful };
    if (truth === null) doubtful.push(rule);
  }
  return { rule: null, doubtful };
}

function selects(
  rule: Rule,
  { destination, source, inputInterface, outputInterface, mark }: RuleSelectors,
): Truth {
  const isSelected =
    (rule.destination?.contains(destination) ?? true) &&
    (rule.source === null || (source !== null && rule.source.contains(source))) &&
    (mark & rule.markMask) >>> 0 === rule.mark &&
    (rule.inputInterface === "" || rule.inputInterface === (inputInterface ?? "lo")) &&
    (rule.outputInterface === "" || rule.outputInterface === outputInterface);
  if (rule.hasOthers && isSelected) return null;
  return isSelected !== rule.isInverted;
}

function inOrder(rules: readonly Rule[]): readonly Rule[] {
  return rules.toSorted((left, right) => left.priority - right.priority);
}
