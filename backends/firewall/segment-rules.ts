/**
 * The rules of bridges that only switch frames, and of the bridge by which their containers reach the outside. Pure
 * and total.
 */

import type { Family, Prefix } from "../../ipam/addresses/ip.ts";
import type { FirewallInput, SegmentRules } from "./plan-input.ts";
import { ACCEPT, DROP, inside, RETURN, rule, sourceDrops } from "./rule-parts.ts";
import type { FamilyRules, Rule } from "./rules.ts";

/**
 * Frames that a bridge switches pass the chains of forwarded packets where bridge-nf-call-iptables is on. What is routed
 * between two such bridges looks the same here, and has been dropped in bridge-from before.
 */
export function switchedAccepts({ segments }: FirewallInput, family: Family): Rule[] {
  if (segments === undefined || !segments.families.includes(family)) return [];
  const any = `${segments.prefix}*`;
  return [
    rule({ inputInterface: any, outputInterface: any }, ACCEPT),
    ...outsideAccepts(outsideBridge(segments, family)),
  ];
}

/** What arrives for a container there has been judged in container-in. */
function outsideAccepts(bridge: { readonly name: string; readonly subnet: Prefix } | null): Rule[] {
  if (bridge === null) return [];
  const { name, subnet } = bridge;
  return [
    rule({ inputInterface: name, outputInterface: name }, DROP),
    rule({ source: inside(subnet), inputInterface: name }, ACCEPT),
    rule({ destination: inside(subnet), outputInterface: name }, ACCEPT),
  ];
}

/**
 * Before addresses are translated, no packet from elsewhere has a container's address on that bridge as its destination:
 * answers and packets to published ports have this host's. One with such a source is forged: masqueraded, it would let
 * answers in to the container.
 */
export function outsideDrops({ segments }: FirewallInput, family: Family): Rule[] {
  const bridge = outsideBridge(segments, family);
  if (bridge === null) return [];
  const { name, subnet } = bridge;
  return [
    ...sourceDrops(name, subnet),
    rule({ inputInterface: name }, RETURN),
    rule({ source: inside(subnet) }, DROP),
    rule({ destination: inside(subnet) }, DROP),
  ];
}

/** Behind gates: packets that enter or leave by such a bridge. Switched frames enter and leave by the same one. */
export function bridgeRules(
  { segments }: FirewallInput,
  family: Family,
): Record<"bridge-from" | "bridge-to" | "bridge-in" | "bridge-out", readonly Rule[]> {
  if (segments === undefined || !segments.families.includes(family))
    return { "bridge-from": [], "bridge-to": [], "bridge-in": [], "bridge-out": [] };
  const switched = segments.bridges.map((name) =>
    rule({ inputInterface: name, outputInterface: name }, RETURN),
  );
  const judged = rule({ inputInterface: `${segments.prefix}*` }, RETURN);
  const drop = rule({}, DROP);
  return {
    "bridge-from": [...switched, drop],
    "bridge-to": [judged, drop],
    "bridge-in": [drop],
    "bridge-out": [drop],
  };
}

export function bridgeGates({ segments }: FirewallInput): FamilyRules["gates"] {
  if (segments === undefined) return {};
  const any = `${segments.prefix}*`;
  return {
    "bridge-from": { inputInterface: any },
    "bridge-to": { outputInterface: any },
    "bridge-in": { inputInterface: any },
    "bridge-out": { outputInterface: any },
  };
}

/** The bridge to the outside with its subnet of this family; null where it has none. */
export function outsideBridge(
  segments: SegmentRules | undefined,
  family: Family,
): { readonly name: string; readonly subnet: Prefix } | null {
  const { outside: bridge = null, families = [] } = segments ?? {};
  const subnet = bridge?.subnets[family];
  if (bridge === null || subnet === undefined || !families.includes(family)) return null;
  return { name: bridge.name, subnet };
}
