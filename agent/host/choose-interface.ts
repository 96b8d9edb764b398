/**
 * Decides which interface carries the tunnel of each family, and with which address; says why. Pure: host-facts.ts takes the
 * snapshot.
 *
 * The rules are in interface-rules.ts. A running daemon stays with its interface while that is sound and moves when the
 * rules name another one or a better rule than the one that chose it finds one. From a substitute it returns to the
 * interface that had lost its address. The families choose one after the other: a family without a default route of its
 * own goes by the interface of the one before.
 */

import {
  ADDRESS_BITS,
  type Address,
  type Family,
  mapFamilies,
  type PerFamily,
} from "../../ipam/addresses/ip.ts";
import type { Mac } from "../../ipam/addresses/mac.ts";
import { InterfaceError } from "../../ipam/errors.ts";
import type { InterfaceSettings } from "../config/config.ts";
import type { HostLink, HostSnapshot } from "./host-snapshot.ts";
import {
  type Candidate,
  describeRules,
  isPicky,
  type Rule,
  type RuleRequest,
  rulesOf,
} from "./interface-rules.ts";
import { missingAddress, tunnelAddress } from "./tunnel-address.ts";
import { type ContainerRanges, unfitness } from "./unfit-device.ts";

export interface ChosenInterface {
  readonly link: HostLink;
  /** The interface's own address. */
  readonly address: Address;
  /** False for an address alone, without a network of other hosts around it, such as a virtual one of keepalived. */
  readonly hasNetwork: boolean;
  /** The address that other hosts send to: public-ip where given, else the interface's own. */
  readonly publicAddress: Address;
  /** Completes the sentence "eth0 was chosen because …". */
  readonly reason: string;
  /** The position of the rule that chose it; a lower one is better. */
  readonly rank: number;
  /** The name of the interface that lost its address and that it replaces; null for none. */
  readonly insteadOf: string | null;
  readonly warnings: readonly string[];
}

/** At least one family. */
export type ChosenInterfaces = PerFamily<ChosenInterface>;

export interface ChoiceRequest {
  readonly settings: InterfaceSettings;
  readonly families: readonly Family[];
  /** The store's address, null when it is local or unknown. */
  readonly store: Address | null;
  readonly containers: ContainerRanges;
  /** The addresses that this host's lease names; empty when it has none. */
  readonly leaseAddresses: readonly Address[];
  /** What a running daemon uses now; null at a start. */
  readonly present: ChosenInterfaces | null;
}

/** The choice for one family. */
interface FamilyRequest extends Omit<ChoiceRequest, "families" | "present">, RuleRequest {
  readonly present: ChosenInterface | null;
}

/**
 * Chooses the interfaces for tunnels of `request.families`. Throws InterfaceError that lists the alternatives; it is
 * retryable unless the rules name something that this host does not have.
 */
export function chooseInterfaces(host: HostSnapshot, request: ChoiceRequest): ChosenInterfaces {
  const chosen: Partial<Record<Family, ChosenInterface>> = {};
  let beside: ChosenInterface | null = null;
  for (const family of request.families) {
    beside = chooseInterface(host, {
      ...request,
      family,
      present: request.present?.[family] ?? null,
      beside,
    });
    chosen[family] = beside;
  }
  return chosen;
}

/** The addresses that other hosts send to. */
export function publicAddressesOf(chosen: ChosenInterfaces): PerFamily<Address> {
  return mapFamilies(chosen, ({ publicAddress }) => publicAddress);
}

/** The hardware address of the first family's interface: it tells a host from a copy of its disk. */
export function macOf(chosen: ChosenInterfaces): Mac | null {
  return Object.values(chosen)[0]?.link.mac ?? null;
}

/** Their names, each once. */
export function interfaceNames(chosen: ChosenInterfaces): string {
  return [...new Set(Object.values(chosen).map(({ link }) => link.name))].join(", ");
}

/** Why they were chosen, each reason once. */
export function reasonsOf(chosen: ChosenInterfaces): string {
  return [...new Set(Object.values(chosen).map(({ reason }) => reason))].join("; ");
}

/** What a person should know of them, each warning once. */
export function warningsOf(chosen: ChosenInterfaces): readonly string[] {
  return [...new Set(Object.values(chosen).flatMap(({ warnings }) => warnings))];
}

function chooseInterface(host: HostSnapshot, request: FamilyRequest): ChosenInterface {
  const rules = rulesOf(host, request);
  const choices: ChosenInterface[] = [];
  const rejections: string[] = [];
  for (const [rank, { candidates }] of rules.entries()) {
    for (const candidate of candidates) {
      const outcome = take(candidate, rank, host, request);
      if (typeof outcome === "string") rejections.push(outcome);
      else choices.push(outcome);
    }
  }
  const chosen = stay(host, request, rules, choices) ?? choices[0];
  if (chosen !== undefined) return asSubstitute(chosen, request.present, host);
  throw new InterfaceError(noInterface(host, request, [...new Set(rejections)]), {
    retryable: rejections.length > 0 || !isPicky(request.settings),
  });
}

/** The present interface when it stays, null when the best choice decides. */
function stay(
  host: HostSnapshot,
  request: FamilyRequest,
  rules: readonly Rule[],
  choices: readonly ChosenInterface[],
): ChosenInterface | null {
  const { present, settings } = request;
  if (present === null) return null;
  const [best] = choices;
  const isKept = ({ index, name }: HostLink): boolean =>
    index === present.link.index || name === present.insteadOf;
  const same = choices.find(({ link, rank }) => isKept(link) && rank === best?.rank);
  if (same !== undefined) return same;
  const isBound = best === undefined ? isPicky(settings) : rules[best.rank]?.isBinding;
  if (isBound || (best !== undefined && best.rank < present.rank)) return null;
  const link = host.links.find(({ index }) => index === present.link.index);
  if (link === undefined) return null;
  const kept = take({ link, reason: present.reason }, present.rank, host, request);
  return typeof kept === "string" ? null : kept;
}

/** The choice, marked when no better rule led to it, but the loss of the address that was in use. */
function asSubstitute(
  chosen: ChosenInterface,
  present: ChosenInterface | null,
  host: HostSnapshot,
): ChosenInterface {
  if (present === null || chosen.link.index === present.link.index || chosen.rank < present.rank)
    return chosen;
  if (host.addresses.some(({ address }) => address.equals(present.address))) return chosen;
  const lost = present.insteadOf ?? present.link.name;
  return { ...chosen, insteadOf: lost === chosen.link.name ? null : lost };
}

/** The finished choice, or one sentence on why this interface will not do. */
function take(
  { link, reason, isNamed = () => false, source = null }: Candidate,
  rank: number,
  host: HostSnapshot,
  request: FamilyRequest,
): ChosenInterface | string {
  const { settings, family, containers, present, leaseAddresses, store } = request;
  const problem = unfitness(link, host, containers);
  if (problem !== null) return problem;
  const known = present === null ? leaseAddresses : [present.address];
  const sources = [source, ...defaultSources(host, link, family)].filter((one) => one !== null);
  const address = tunnelAddress(host, link, family, { isNamed, known, sources });
  if (address === null) return `${link.name} has ${missingAddress(host, link, family)}`;
  const publicAddress = settings.publicAddress[family] ?? address;
  const insteadOf = present?.link.index === link.index ? present.insteadOf : null;
  const hasNetwork = host.addresses.some(
    (one) => one.address.equals(address) && one.length < ADDRESS_BITS[family],
  );
  const warnings = storeWarning(link, host, store);
  return { link, address, hasNetwork, publicAddress, reason, rank, insteadOf, warnings };
}

function defaultSources(host: HostSnapshot, link: HostLink, family: Family): readonly (Address | null)[] {
  const paths = host.defaultRoutes[family] ?? [];
  return paths.filter(({ interfaceIndex }) => interfaceIndex === link.index).map(({ source }) => source);
}

function storeWarning(link: HostLink, host: HostSnapshot, store: Address | null): readonly string[] {
  if (store === null || store.isLoopback) return [];
  const path = host.routeTo(store);
  if (path === null || path.interfaceIndex === link.index) return [];
  const other = host.links.find(({ index }) => index === path.interfaceIndex);
  if (other === undefined || unfitness(other, host, NO_CONTAINERS) !== null) return [];
  return [
    `the store ${store} is reached by ${other.name}, not by ${link.name}: if the hosts reach each other there, ` +
      `give -iface=${other.name}`,
  ];
}

const NO_CONTAINERS: ContainerRanges = { plan: {}, subnets: [] };

function noInterface(host: HostSnapshot, request: FamilyRequest, rejections: readonly string[]): string {
  const why = rejections.length > 0 ? ` (${rejections.join("; ")})` : "";
  const offered = offers(host, request);
  const remedy =
    offered.length === 0
      ? "no interface has a usable address: give one an address first"
      : `give -iface one of: ${offered.join(", ")}`;
  return `no usable interface ${describeRules(request)}${why}; ${remedy}`;
}

/** What could be given as -iface: `eth0 192.168.1.2`. */
function offers(host: HostSnapshot, { family, containers }: FamilyRequest): readonly string[] {
  const wishes = { isNamed: () => false, known: [], sources: [] };
  return host.links.flatMap((link) => {
    if (unfitness(link, host, containers) !== null) return [];
    const own = tunnelAddress(host, link, family, wishes);
    return own === null ? [] : [`${link.name} ${own}`];
  });
}
