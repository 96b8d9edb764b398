/**
 * The rules by which an interface is chosen for the tunnel of a family, and the interfaces that each of them names. Pure.
 *
 * They are flanneld's, in its order: iface, iface-regex, iface-can-reach, the owner of public-ip, the default route; the
 * last one, the route to the store, is ours.
 */

import { Address, entriesOf, type Family, type PerFamily } from "../../ipam/addresses/ip.ts";
import type { InterfaceSettings } from "../config/config.ts";
import type { HostLink, HostSnapshot, PathOut } from "./host-snapshot.ts";

export interface RuleRequest {
  readonly settings: InterfaceSettings;
  readonly family: Family;
  /** The store's address, null when it is local or unknown. */
  readonly store: Address | null;
  /** What the family before it uses; null for the first. */
  readonly beside: { readonly link: HostLink; readonly address: Address } | null;
}

/** An interface that a rule names. */
export interface Candidate {
  readonly link: HostLink;
  readonly reason: string;
  /** The addresses that the rule means. */
  readonly isNamed?: (address: Address) => boolean;
  /** The source address on the route that the rule follows. */
  readonly source?: Address | null;
}

export interface Rule {
  /** True when the rule names interfaces or addresses: the tunnel follows it, where a route only chooses once. */
  readonly isBinding: boolean;
  readonly candidates: readonly Candidate[];
}

/** Whether the administrator names interfaces, by name, address or pattern. */
export function isPicky({ interfaces, patterns }: InterfaceSettings): boolean {
  return interfaces.length > 0 || patterns.length > 0;
}

/** In order of preference. The positions are the same whatever the host looks like. */
export function rulesOf(host: HostSnapshot, request: RuleRequest): readonly Rule[] {
  const { settings, family, store, beside } = request;
  const { interfaces, patterns, canReach, publicAddress } = settings;
  if (isPicky(settings)) {
    return [
      ...interfaces.map((wanted) => named(host, wanted)),
      ...patterns.map((pattern) => matching(host, pattern)),
    ];
  }
  if (canReach !== null) {
    return [onPath(host, canReach, `the route to -iface-can-reach=${canReach} leaves by it`)];
  }
  return [
    ...ownFirst(publicAddress, family).map((address) => ownerOf(host, address)),
    onDefaultRoute(host, family),
    besideOf(beside),
    store === null || store.isLoopback
      ? { isBinding: false, candidates: [] }
      : onPath(
          host,
          store,
          `there is no usable default route, and the route to the store ${store} leaves by it`,
        ),
  ];
}

/** The family's own address decides before that of the other. */
function ownFirst(addresses: PerFamily<Address>, family: Family): readonly Address[] {
  const all = entriesOf(addresses).map(([, address]) => address);
  return all.sort((left, right) => Number(right.family === family) - Number(left.family === family));
}

/** The interface of the family before, for one without a default route of its own. */
function besideOf(beside: RuleRequest["beside"]): Rule {
  if (beside === null) return { isBinding: false, candidates: [] };
  const { link, address } = beside;
  return { isBinding: false, candidates: [{ link, reason: `the IPv${address.family} tunnel leaves by it` }] };
}

function named(host: HostSnapshot, wanted: string): Rule {
  const wantedAddress = Address.parseOrNull(wanted);
  const isNamed = (address: Address): boolean => wantedAddress?.equals(address) ?? false;
  return {
    isBinding: true,
    candidates: [
      ...owners(host, isNamed).map(({ link }) => ({
        link,
        isNamed,
        reason: `it has the address of -iface=${wanted}`,
      })),
      ...host.links
        .filter(({ name }) => name === wanted)
        .map((link) => ({ link, reason: `-iface=${wanted} names it` })),
    ],
  };
}

function matching(host: HostSnapshot, pattern: RegExp): Rule {
  const rule = `-iface-regex=${pattern.source}`;
  const isNamed = (address: Address): boolean => pattern.test(address.toString());
  return {
    isBinding: true,
    candidates: [
      ...owners(host, isNamed).map(({ link, address }) => ({
        link,
        isNamed,
        reason: `its address ${address} matches ${rule}`,
      })),
      ...host.links
        .filter(({ name }) => pattern.test(name))
        .map((link) => ({ link, reason: `its name matches ${rule}` })),
    ],
  };
}

function ownerOf(host: HostSnapshot, address: Address): Rule {
  const isNamed = (other: Address): boolean => other.equals(address);
  const reason = `it has the public address ${address}`;
  return {
    isBinding: true,
    candidates: owners(host, isNamed).map(({ link }) => ({ link, isNamed, reason })),
  };
}

function onDefaultRoute(host: HostSnapshot, family: Family): Rule {
  const reason = `the IPv${family} default route leaves by it`;
  const paths = host.defaultRoutes[family] ?? [];
  return { isBinding: false, candidates: paths.flatMap((path) => candidateOn(host, path, reason)) };
}

function onPath(host: HostSnapshot, target: Address, reason: string): Rule {
  const path = host.routeTo(target);
  return { isBinding: false, candidates: path === null ? [] : candidateOn(host, path, reason) };
}

function candidateOn(
  { links }: HostSnapshot,
  { interfaceIndex, source }: PathOut,
  reason: string,
): readonly Candidate[] {
  return links.filter(({ index }) => index === interfaceIndex).map((link) => ({ link, source, reason }));
}

/** The interfaces with an address for which `matches` is true, each with the first such address. */
function owners(
  host: HostSnapshot,
  matches: (address: Address) => boolean,
): readonly { readonly link: HostLink; readonly address: Address }[] {
  return host.links
    .flatMap((link) => {
      const position = host.addresses.findIndex(
        ({ address, interfaceIndex }) =>
          interfaceIndex === link.index && !address.isLoopback && matches(address),
      );
      const found = host.addresses[position];
      return found === undefined ? [] : [{ link, address: found.address, position }];
    })
    .sort((left, right) => left.position - right.position);
}

/** Names only what was given. */
export function describeRules({ settings, family, store }: RuleRequest): string {
  const { interfaces, patterns, canReach } = settings;
  const given = [
    ...interfaces.map((name) => `-iface=${name}`),
    ...patterns.map((pattern) => `-iface-regex=${pattern.source}`),
  ];
  if (given.length > 0) return `matches ${given.join(", ")}`;
  if (canReach !== null) return `is on the route to -iface-can-reach=${canReach}`;
  const isStoreAsked = store !== null && !store.isLoopback;
  return isStoreAsked
    ? `has an IPv${family} default route or the route to the store ${store}`
    : `has an IPv${family} default route`;
}
