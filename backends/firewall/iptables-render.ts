/**
 * Spells rules for iptables-restore(8), in the very form in which iptables-save shows them again.
 *
 * Pure. One spelling for both families and for the legacy and the nft variant of the tools.
 */

import type { Address } from "../../ipam/addresses/ip.ts";
import {
  type Action,
  type ChainRole,
  commentOf,
  type FamilyRules,
  type Gate,
  type Matches,
  matchesAll,
  type PrefixMatch,
  type Rule,
} from "./rules.ts";

/** Where a chain of ours lives and which built-in chain leads to it. */
export interface IptablesChain {
  readonly table: "filter" | "nat" | "mangle" | "raw";
  readonly name: string;
  /** The built-in chain, or Docker's; null for a chain that only our own rules jump to. */
  readonly hook: string | null;
  /** Where a new jump goes: in front of everybody else's rules, or behind them as flannel does for nat. */
  readonly position: "first" | "last";
}

/** The chain that Docker keeps in front of its own rules for the administrator's. */
export const DOCKER_USER = "DOCKER-USER";

export const IPTABLES_CHAINS: Readonly<Record<ChainRole, IptablesChain>> = {
  forward: { table: "filter", name: "FLANNEL-FWD", hook: "FORWARD", position: "first" },
  "docker-user": { table: "filter", name: "FLANNEL-DOCKER", hook: DOCKER_USER, position: "last" },
  masquerade: { table: "nat", name: "FLANNEL-POSTRTG", hook: "POSTROUTING", position: "last" },
  input: { table: "filter", name: "FLANNEL-INPUT", hook: "INPUT", position: "first" },
  "tunnel-in": { table: "raw", name: "FLANNEL-TUN-IN", hook: "PREROUTING", position: "first" },
  "tunnel-out": { table: "raw", name: "FLANNEL-TUN-OUT", hook: "OUTPUT", position: "first" },
  "tunnel-forward": { table: "mangle", name: "FLANNEL-TUN-FWD", hook: "FORWARD", position: "first" },
  "mss-clamp": { table: "mangle", name: "FLANNEL-MSS", hook: "FORWARD", position: "first" },
  "overlay-in": { table: "raw", name: "FLANNEL-DIRECT", hook: "PREROUTING", position: "first" },
};

/** Returns for each known tunnel source and drops the rest. */
export const SOURCES_CHAIN: IptablesChain = {
  table: "raw",
  name: "FLANNEL-PEERS",
  hook: null,
  position: "last",
};

/** A chain with its rules as iptables-save shows them behind `-A CHAIN`. */
export interface RenderedChain extends IptablesChain {
  readonly rules: readonly string[];
  readonly jump: string;
}

/** All chains of ours; those that the plan does not want have no rules. A chain precedes those that jump to it. */
export function renderChains(wanted: FamilyRules | undefined): readonly RenderedChain[] {
  const sources = wanted?.knownSources ?? null;
  const peers: RenderedChain = {
    ...SOURCES_CHAIN,
    rules: sources === null ? [] : renderSources(sources),
    jump: "",
  };
  const roles = Object.entries(IPTABLES_CHAINS) as [ChainRole, IptablesChain][];
  return [
    peers,
    ...roles.map(([role, chain]) => ({
      ...chain,
      rules: (wanted?.chains[role] ?? []).map((rule) => renderRule(role, rule)),
      jump: renderJump(role, chain.name, wanted?.gates[role] ?? {}),
    })),
  ];
}

function renderSources(sources: readonly Address[]): string[] {
  const bits = { 4: 32, 6: 128 };
  return [...sources.map((address) => `-s ${address}/${bits[address.family]} -j RETURN`), "-j DROP"];
}

function renderJump(role: ChainRole, name: string, gate: Gate): string {
  return [...renderMatches(gate), ...renderComment(role), `-j ${name}`].join(" ");
}

function renderRule(role: ChainRole, { matches, action }: Rule): string {
  const target = matches.isFromUnknownSource ? `-j ${SOURCES_CHAIN.name}` : renderAction(action);
  return [...renderMatches(matches), ...renderComment(role), target].join(" ");
}

function renderMatches(matches: Matches): string[] {
  return [
    ...renderPrefix("-s", matches.source),
    ...renderPrefix("-d", matches.destination),
    ...renderInterface("-i", matches.inputInterface),
    ...renderInterface("-o", matches.outputInterface),
    ...renderTests(matches),
  ];
}

/**
 * What flannel has too is written as flannel writes it, so that neither agent adds to the other's or takes it away.
 * Ours alone has no comment, which is a test like any other and costs each packet as much.
 */
function renderComment(role: ChainRole): string[] {
  return role === "forward" || role === "masquerade" ? [`-m comment --comment "${commentOf(role)}"`] : [];
}

function renderPrefix(option: string, match: PrefixMatch | undefined): string[] {
  if (match === undefined || matchesAll(match)) return [];
  return [`${match.isNegated ? "! " : ""}${option} ${match.prefix}`];
}

function renderInterface(option: string, name: string | undefined): string[] {
  return name === undefined ? [] : [`${option} ${name.replace(/\*$/, "+")}`];
}

function renderTests(matches: Matches): string[] {
  const words: string[] = [];
  if (matches.udpPort !== undefined) words.push(`-p udp -m udp --dport ${matches.udpPort}`);
  if (matches.isTcpSyn) words.push("-p tcp -m tcp --tcp-flags SYN,RST SYN");
  if (matches.destinationType !== undefined)
    words.push(
      matches.destinationType === "elsewhere"
        ? "-m addrtype ! --dst-type LOCAL"
        : `-m addrtype --dst-type ${matches.destinationType.toUpperCase()}`,
    );
  if (matches.isOffPath) words.push("-m rpfilter --invert");
  const { mark } = matches;
  if (mark !== undefined)
    words.push(`-m mark --mark 0x${mark.value.toString(16)}/0x${mark.mask.toString(16)}`);
  return words;
}

function renderAction(action: Action): string {
  switch (action.do) {
    case "masquerade":
      return action.randomFully ? "-j MASQUERADE --random-fully" : "-j MASQUERADE";
    case "clamp-mss":
      return "-j TCPMSS --clamp-mss-to-pmtu";
    case "notrack":
      return "-j CT --notrack";
    case "accept":
    case "drop":
    case "return":
      return `-j ${action.do.toUpperCase()}`;
  }
}
