/**
 * Renders rules for iptables-restore(8), in the form in which iptables-save lists them.
 *
 * Pure. One form for both families and for the legacy and the nft variant of the tools.
 */

import type { Address, Family } from "../../ipam/addresses/ip.ts";
import { type NetworkName, nameFor, networksOf } from "./names.ts";
import {
  type Action,
  type ChainRole,
  commentOf,
  type FamilyRules,
  type Gate,
  IP_PROTOCOL,
  type Matches,
  matchesAll,
  type PrefixMatch,
  type Rule,
} from "./rules.ts";

/** The table and name of a chain of ours, and the chain that jumps to it. */
export interface IptablesChain {
  readonly table: "filter" | "nat" | "mangle" | "raw";
  /** In the first network. */
  readonly name: string;
  /** The built-in chain, or Docker's; null for a chain that only our own rules jump to. */
  readonly hook: string | null;
  /** Where a new jump goes: before all other rules, or after them as flannel does for nat. */
  readonly position: "first" | "last";
}

/** The chain that Docker keeps in front of its own rules for the administrator's. */
export const DOCKER_USER = "DOCKER-USER";

export const IPTABLES_CHAINS: Readonly<Record<ChainRole, IptablesChain>> = {
  forward: { table: "filter", name: "FLANNEL-FWD", hook: "FORWARD", position: "first" },
  "docker-user": { table: "filter", name: "FLANNEL-DOCKER", hook: DOCKER_USER, position: "last" },
  masquerade: { table: "nat", name: "FLANNEL-POSTRTG", hook: "POSTROUTING", position: "last" },
  input: { table: "filter", name: "FLANNEL-INPUT", hook: "INPUT", position: "first" },
  "name-server": { table: "filter", name: "FLANNEL-DNS", hook: "INPUT", position: "first" },
  "container-in": { table: "raw", name: "FLANNEL-CONT-IN", hook: "PREROUTING", position: "first" },
  "tunnel-in": { table: "raw", name: "FLANNEL-TUN-IN", hook: "PREROUTING", position: "first" },
  "tunnel-out": { table: "raw", name: "FLANNEL-TUN-OUT", hook: "OUTPUT", position: "first" },
  "tunnel-forward": { table: "mangle", name: "FLANNEL-TUN-FWD", hook: "FORWARD", position: "first" },
  "tunnel-local": { table: "mangle", name: "FLANNEL-TUN-DST", hook: "INPUT", position: "first" },
  "bridge-from": { table: "mangle", name: "FLANNEL-BR-FROM", hook: "FORWARD", position: "first" },
  "bridge-to": { table: "mangle", name: "FLANNEL-BR-TO", hook: "FORWARD", position: "first" },
  "bridge-in": { table: "mangle", name: "FLANNEL-BR-IN", hook: "INPUT", position: "first" },
  "bridge-out": { table: "raw", name: "FLANNEL-BR-OUT", hook: "OUTPUT", position: "first" },
  "mss-clamp": { table: "mangle", name: "FLANNEL-MSS", hook: "FORWARD", position: "first" },
  "overlay-in": { table: "raw", name: "FLANNEL-DIRECT", hook: "PREROUTING", position: "first" },
};

/**
 * The VNI of a VXLAN packet, four bytes behind the UDP header without the lowest, from FIRST_NAMED_VNI up; IPv6 headers
 * before it have a fixed length, because VXLAN sends no others.
 */
const NAMED_VNI = {
  4: "0x0>>0x16&0x3c@0xc>>0x8=0x1000:0xffffff",
  6: "0x34>>0x8=0x1000:0xffffff",
} as const satisfies Record<Family, string>;

/** Returns for each known tunnel source and drops the rest. */
const SOURCES_CHAIN: IptablesChain = {
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

const ALL_NAMES = [SOURCES_CHAIN, ...Object.values(IPTABLES_CHAINS)].map(({ name }) => name);

/** True for a chain of ours in any network. */
export function isOurChain(name: string): boolean {
  return ALL_NAMES.some((base) => networksOf(base, [name]).length > 0);
}

/** True for a chain that flanneld makes too. */
export function isFlannelChain(name: string): boolean {
  return [IPTABLES_CHAINS.forward, IPTABLES_CHAINS.masquerade].some((chain) => chain.name === name);
}

/** The networks that own chains of these names. */
export function networksOfChains(names: Iterable<string>): ReadonlySet<NetworkName> {
  const all = [...names];
  return new Set(ALL_NAMES.flatMap((base) => networksOf(base, all)));
}

/**
 * All chains of a network; those that the plan does not want have no rules. A chain precedes those that jump to it.
 */
export function renderChains(
  wanted: FamilyRules | undefined,
  network: NetworkName,
): readonly RenderedChain[] {
  const sources = wanted?.knownSources ?? null;
  const sourcesName = nameFor(SOURCES_CHAIN.name, network);
  const peers: RenderedChain = {
    ...SOURCES_CHAIN,
    name: sourcesName,
    rules: sources === null ? [] : renderSources(sources),
    jump: "",
  };
  const roles = Object.entries(IPTABLES_CHAINS) as [ChainRole, IptablesChain][];
  return [
    peers,
    ...roles.map(([role, chain]) => {
      const name = nameFor(chain.name, network);
      const rules = (wanted?.chains[role] ?? []).map((rule) => renderRule(role, rule, sourcesName));
      return { ...chain, name, rules, jump: renderJump(role, name, wanted?.gates[role] ?? {}) };
    }),
  ];
}

function renderSources(sources: readonly Address[]): string[] {
  const bits = { 4: 32, 6: 128 };
  return [...sources.map((address) => `-s ${address}/${bits[address.family]} -j RETURN`), "-j DROP"];
}

function renderJump(role: ChainRole, name: string, gate: Gate): string {
  return [...renderMatches(gate), ...renderComment(role), `-j ${name}`].join(" ");
}

function renderRule(role: ChainRole, { matches, action }: Rule, sourcesName: string): string {
  const target = matches.isFromUnknownSource ? `-j ${sourcesName}` : renderAction(action);
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
 * flannel's rules are written as flannel writes them, so that neither agent duplicates or removes the other's. Rules of
 * ours alone have no comment, which is a match like any other and costs each packet as much.
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
  if (matches.tcpPort !== undefined) words.push(`-p tcp -m tcp --dport ${matches.tcpPort}`);
  if (matches.isNamedVni !== undefined) words.push(`-m u32 --u32 "${NAMED_VNI[matches.isNamedVni]}"`);
  if (matches.protocol !== undefined) words.push(`-p ${IP_PROTOCOL[matches.protocol]}`);
  if (matches.isTcpSyn) words.push("-p tcp -m tcp --tcp-flags SYN,RST SYN");
  if (matches.isNotLocal) words.push("-m addrtype ! --dst-type LOCAL");
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
