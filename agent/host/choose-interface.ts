/**
 * Decides which interface carries the tunnel, and with which addresses; says why.
 *
 * Pure: host-facts.ts takes the snapshot. The order is flanneld's: iface, iface-regex, iface-can-reach, the
 * owner of public-ip, the first default route; then, only without one, the route to the store.
 */

import {
  IFA_F_DADFAILED,
  IFA_F_DEPRECATED,
  IFA_F_PERMANENT,
  type KernelAddress,
} from "../../backends/netlink/address.ts";
import type { Link } from "../../backends/netlink/link.ts";
import { RT_SCOPE_LINK, RT_SCOPE_UNIVERSE } from "../../backends/netlink/rtnetlink.ts";
import { VXLAN_DEVICE_NAME } from "../../backends/vxlan.ts";
import { type Address, entriesOf, type Family, type PerFamily } from "../../ipam/addresses/ip.ts";
import { InterfaceError } from "../../ipam/errors.ts";
import type { InterfaceSettings } from "../config/config.ts";

export type HostLink = Pick<Link, "index" | "name" | "mac" | "mtuBytes" | "flags">;
export type HostAddress = Pick<KernelAddress, "interfaceIndex" | "address" | "length" | "scope" | "flags">;

/** How packets to an address leave this host. */
export interface PathOut {
  readonly interfaceIndex: number;
  readonly source: Address | null;
}

/** What the choice depends on, at one moment. */
export interface HostSnapshot {
  readonly links: readonly HostLink[];
  readonly addresses: readonly HostAddress[];
  /** Interfaces of the main table's default routes, in the kernel's order. */
  readonly defaultRoutes: PerFamily<readonly number[]>;
  /** `ip route get`; null when the address cannot be reached. */
  readonly routeTo: (address: Address) => PathOut | null;
}

export interface ChosenInterface {
  readonly link: HostLink;
  /** The interface's own address in each wanted family. */
  readonly addresses: PerFamily<Address>;
  /** What other hosts are told: public-ip where given, else the interface's own. */
  readonly publicAddresses: PerFamily<Address>;
  /** Completes the sentence "eth0 was chosen because …". */
  readonly reason: string;
  readonly warnings: readonly string[];
}

/** An interface that one of the rules points at. */
interface Candidate {
  readonly link: HostLink;
  /** The address that the administrator meant; used instead of the best one in its family. */
  readonly pinned: Address | null;
  readonly reason: string;
}

/** linux/if.h and linux/if_addr.h. */
const IFF_LOOPBACK = 0x8;
const IFA_F_TEMPORARY = 0x01;

/**
 * Chooses the interface for tunnels of `families`. `store` is the store's address, null when it is local or
 * unknown. Throws InterfaceError that lists the candidates.
 */
export function chooseInterface(
  settings: InterfaceSettings,
  families: readonly Family[],
  host: HostSnapshot,
  store: Address | null,
): ChosenInterface {
  const isPicky = settings.interfaces.length > 0 || settings.patterns.length > 0;
  const candidates = isPicky ? named(settings, host) : automatic(settings, families, host, store);
  const refusals: string[] = [];
  for (const candidate of candidates) {
    const chosen = take(candidate, settings, families, host, store);
    if (typeof chosen !== "string") return chosen;
    refusals.push(chosen);
  }
  throw new InterfaceError(noInterface(settings, isPicky, refusals, offers(host, families)));
}

function* named(settings: InterfaceSettings, host: HostSnapshot): Generator<Candidate> {
  for (const wanted of settings.interfaces) {
    const owned = ownerOf(host, (address) => address.toString() === wanted);
    const link = host.links.find(({ name }) => name === wanted);
    if (owned) yield { ...owned, reason: `it has the address of -iface=${wanted}` };
    else if (link) yield { link, pinned: null, reason: `-iface=${wanted} names it` };
  }
  for (const pattern of settings.patterns) {
    const rule = `-iface-regex=${pattern.source}`;
    const owned = ownerOf(host, (address) => pattern.test(address.toString()));
    if (owned) yield { ...owned, reason: `its address ${owned.pinned} matches ${rule}` };
    const link = host.links.find(({ name, flags }) => (flags & IFF_LOOPBACK) === 0 && pattern.test(name));
    if (link) yield { link, pinned: null, reason: `its name matches ${rule}` };
  }
}

function* automatic(
  settings: InterfaceSettings,
  families: readonly Family[],
  host: HostSnapshot,
  store: Address | null,
): Generator<Candidate> {
  if (settings.canReach !== null) {
    yield* onPath(host, settings.canReach, `the route to -iface-can-reach=${settings.canReach} leaves by it`);
    return;
  }
  for (const [, address] of entriesOf(settings.publicAddress)) {
    const owned = ownerOf(host, (other) => other.equals(address));
    if (owned) yield { ...owned, reason: `it has the public address ${address}` };
  }
  let hasDefaultRoute = false;
  for (const family of families) {
    for (const index of host.defaultRoutes[family] ?? []) {
      const link = host.links.find((other) => other.index === index);
      if (link === undefined) continue;
      hasDefaultRoute = true;
      yield { link, pinned: null, reason: `the IPv${family} default route leaves by it` };
    }
  }
  if (!hasDefaultRoute && store !== null && !store.isLoopback) {
    yield* onPath(host, store, `there is no default route, and the route to the store ${store} leaves by it`);
  }
}

function* onPath(host: HostSnapshot, target: Address, reason: string): Generator<Candidate> {
  const path = host.routeTo(target);
  const link = host.links.find(({ index }) => index === path?.interfaceIndex);
  if (path && link) yield { link, pinned: path.source, reason };
}

/** The interface that holds the first address for which `matches` is true. */
function ownerOf(
  host: HostSnapshot,
  matches: (address: Address) => boolean,
): { readonly link: HostLink; readonly pinned: Address } | null {
  for (const { address, interfaceIndex } of host.addresses) {
    if (address.isLoopback || !matches(address)) continue;
    const link = host.links.find(({ index }) => index === interfaceIndex);
    if (link) return { link, pinned: address };
  }
  return null;
}

/** The finished choice, or one sentence on why this interface will not do. */
function take(
  { link, pinned, reason }: Candidate,
  settings: InterfaceSettings,
  families: readonly Family[],
  host: HostSnapshot,
  store: Address | null,
): ChosenInterface | string {
  if ((link.flags & IFF_LOOPBACK) !== 0) return `${link.name} is the loopback`;
  if (link.mtuBytes <= 0) return `${link.name} has an MTU of ${link.mtuBytes}`;
  const addresses: Partial<Record<Family, Address>> = {};
  const publicAddresses: Partial<Record<Family, Address>> = {};
  for (const family of families) {
    const address = pinned?.family === family ? pinned : bestAddress(host, link, family);
    if (address === null) return `${link.name} has no IPv${family} address`;
    addresses[family] = address;
    publicAddresses[family] = settings.publicAddress[family] ?? address;
  }
  return { link, addresses, publicAddresses, reason, warnings: storeWarning(link, host, store) };
}

/** Global before link-local, then permanent, then not temporary; never a deprecated or refused one. */
function bestAddress(host: HostSnapshot, link: HostLink, family: Family): Address | null {
  const usable = host.addresses.filter(
    ({ interfaceIndex, address, scope, flags }) =>
      interfaceIndex === link.index &&
      address.family === family &&
      (scope === RT_SCOPE_UNIVERSE || scope === RT_SCOPE_LINK) &&
      (flags & (IFA_F_DEPRECATED | IFA_F_DADFAILED)) === 0,
  );
  const rank = ({ scope, flags }: HostAddress): number =>
    (scope === RT_SCOPE_UNIVERSE ? 0 : 4) +
    ((flags & IFA_F_PERMANENT) !== 0 ? 0 : 2) +
    ((flags & IFA_F_TEMPORARY) === 0 ? 0 : 1);
  return [...usable].sort((left, right) => rank(left) - rank(right))[0]?.address ?? null;
}

function storeWarning(link: HostLink, host: HostSnapshot, store: Address | null): readonly string[] {
  if (store === null || store.isLoopback) return [];
  const path = host.routeTo(store);
  if (path === null || path.interfaceIndex === link.index) return [];
  const other = host.links.find(({ index }) => index === path.interfaceIndex);
  if (other === undefined || (other.flags & IFF_LOOPBACK) !== 0) return [];
  return [
    `the store ${store} is reached by ${other.name}, not by ${link.name}: if the hosts reach each other there, ` +
      `give -iface=${other.name}`,
  ];
}

function noInterface(
  settings: InterfaceSettings,
  isPicky: boolean,
  refusals: readonly string[],
  offered: readonly string[],
): string {
  const wanted = [
    ...settings.interfaces.map((name) => `-iface=${name}`),
    ...settings.patterns.map((pattern) => `-iface-regex=${pattern.source}`),
    ...(settings.canReach && !isPicky ? [`-iface-can-reach=${settings.canReach}`] : []),
  ];
  const rule = wanted.length > 0 ? `that ${wanted.join(", ")} stands for` : "with a default route";
  const why = refusals.length > 0 ? ` (${refusals.join("; ")})` : "";
  const remedy =
    offered.length === 0
      ? "give an interface an address first, for none has one"
      : `give -iface one of: ${offered.join(", ")}`;
  return `no usable interface ${rule}${why}; ${remedy}`;
}

/** What would do, and is no tunnel itself: `eth0 192.168.1.2`. */
function offers(host: HostSnapshot, families: readonly Family[]): readonly string[] {
  return host.links.flatMap((link) => {
    const isLoopback = (link.flags & IFF_LOOPBACK) !== 0;
    if (isLoopback || link.mtuBytes <= 0 || VXLAN_DEVICE_NAME.test(link.name)) return [];
    const own = families.map((family) => bestAddress(host, link, family));
    return own.includes(null) ? [] : [[link.name, ...own].join(" ")];
  });
}
