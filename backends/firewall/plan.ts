/**
 * What the firewall must hold, from the network's configuration and this host's lease alone.
 *
 * Pure and total: any input gives a plan, nothing is read and nothing is written. The same for every backend.
 */

import { ADDRESS_BITS, FAMILIES, type Family, Prefix } from "../../ipam/addresses/ip.ts";
import {
  containerInRules,
  dockerUserRules,
  forwardRules,
  masqueradeRules,
  overlayInRules,
} from "./network-rules.ts";
import type { FirewallInput } from "./plan-input.ts";
import { ACCEPT, inside, rule } from "./rule-parts.ts";
import type { ChainRole, FamilyRules, FirewallPlan, Rule } from "./rules.ts";
import { bridgeGates, bridgeRules, outsideDrops } from "./segment-rules.ts";
import { acceptRules, knownSourcesOf, mssClampRules, tunnelChains, tunnelGates } from "./tunnel-rules.ts";

const DNS_PORT = 53;

/** Plans the firewall. Never throws. */
export function planFirewall(input: FirewallInput): FirewallPlan {
  const rules: Partial<Record<Family, FamilyRules>> = {};
  for (const family of FAMILIES) {
    const hasSegments = input.segments?.families.includes(family) ?? false;
    const isNeeded = hasSegments || input.nameServer?.family === family;
    if (!isNeeded && input.networks[family] === undefined && input.tunnels[family] === undefined) continue;
    rules[family] = planFamily(input, family);
  }
  const ports = input.segments === undefined ? {} : { ports: input.segments.ports };
  return { rules, prefersNft: input.prefersNft, warnings: warningsFor(input), ...ports };
}

function planFamily(input: FirewallInput, family: Family): FamilyRules {
  const tunnel = input.tunnels[family];
  const judged = tunnel?.isAuthenticated ? undefined : tunnel;
  const all = [...(tunnel === undefined ? [] : [tunnel]), ...(input.sideTunnels?.[family] ?? [])];
  const chains: Record<ChainRole, readonly Rule[]> = {
    forward: forwardRules(input, family),
    "docker-user": dockerUserRules(input, family),
    masquerade: masqueradeRules(input, family),
    input: input.openPort ? acceptRules(all) : [],
    "name-server": nameServerAccepts(input, family),
    "container-in": [...containerInRules(input, family), ...outsideDrops(input, family)],
    ...tunnelChains(input, family, judged),
    "mss-clamp": all.flatMap((each) => mssClampRules(input, each)),
    ...bridgeRules(input, family),
    "overlay-in": overlayInRules(input, family),
  };
  const gates = { ...(judged === undefined ? {} : tunnelGates(judged)), ...bridgeGates(input) };
  return { chains, gates, knownSources: judged === undefined ? null : knownSourcesOf(input, family, judged) };
}

function nameServerAccepts({ nameServer }: FirewallInput, family: Family): Rule[] {
  if (nameServer?.family !== family) return [];
  const destination = inside(Prefix.of(nameServer, ADDRESS_BITS[family]));
  return [rule({ destination, udpPort: DNS_PORT }, ACCEPT), rule({ destination, tcpPort: DNS_PORT }, ACCEPT)];
}

/** An exclusion wider than the network works as meant: what goes to the network itself is not masqueraded anyway. */
function warningsFor(input: FirewallInput): string[] {
  return input.masquerade.excluded.flatMap((prefix) => {
    const network = input.networks[prefix.family];
    if (network !== undefined && !network.contains(prefix)) return [];
    const reason =
      network === undefined
        ? `the network has no IPv${prefix.family} range`
        : `it lies inside the network ${network}, where containers keep their addresses anyway`;
    return [`masquerade exclusion ${prefix} has no effect: ${reason}`];
  });
}

/**
 * True when a host without any firewall tool cannot do what the settings require. Accepting what is forwarded needs no
 * tool where nothing filters, and the rest only makes a working network better.
 */
export function requiresEngine({ rules }: FirewallPlan): boolean {
  return Object.values(rules).some(
    ({ chains, knownSources }) =>
      knownSources !== null ||
      chains.masquerade?.length ||
      chains["mss-clamp"]?.length ||
      chains["container-in"]?.length ||
      chains["bridge-in"]?.length ||
      chains.forward?.some(({ action }) => action.do === "drop"),
  );
}
