/** What this host reaches without the overlay, from a snapshot of its interfaces and routes. Pure. */

import { RTN_UNICAST } from "../../backends/netlink/route.ts";
import { isOverlayDevice } from "../../backends/registry.ts";
import { ROUTE_PROTOCOL } from "../../backends/state/contract/kind.ts";
import { type Address, Prefix } from "../../ipam/addresses/ip.ts";
import { type LocalPrefix, localAddress } from "../../ipam/addresses/local-prefixes.ts";
import type { HostLink, HostRoute, HostSnapshot } from "./host-snapshot.ts";
import { isCard, leadsOut } from "./uplink.ts";

type Links = ReadonlyMap<number, HostLink>;

/** Which devices may be those of this host's containers. */
interface ContainerDevices {
  readonly bridges: ReadonlySet<HostLink>;
  /**
   * The prefixes whose first address a virtual device has, by its index: `9 10.2.7.0/24`. A dummy, a port of Open vSwitch, a
   * tap of a virtual machine or a macvlan beside containers.
   */
  readonly gateways: ReadonlySet<string>;
}

/** Addresses, links, routes and gateways of the host, and the addresses of the lease store that are known. */
export function localPrefixes(host: HostSnapshot, store: readonly Address[]): readonly LocalPrefix[] {
  const links = new Map(host.links.map((link) => [link.index, link]));
  const devices = containerDevices(host, store);
  return [
    ...addressesOf(host, links, devices),
    ...host.routes.flatMap((route) => ofRoute(route, links, devices)),
    ...store.map((address) => localAddress(address, "store", "the lease store")),
  ];
}

/**
 * The snapshot without the addresses and routes by which other programs carry the packets of the network: those inside
 * its ranges, except for what is on the link of an interface in `uplinks`.
 */
export function withoutDataPath(
  host: HostSnapshot,
  ranges: readonly Prefix[],
  uplinks: ReadonlySet<number>,
): HostSnapshot {
  const isInside = (prefix: Prefix): boolean =>
    ranges.some((range) => range.contains(prefix) && !range.equals(prefix));
  return {
    ...host,
    addresses: host.addresses.filter(
      ({ interfaceIndex, address, length }) =>
        uplinks.has(interfaceIndex) || !isInside(Prefix.of(address, length)),
    ),
    routes: host.routes.filter(({ destination, outputIndex, gateway }) => {
      const isOnLink = gateway === null && outputIndex !== null && uplinks.has(outputIndex);
      return isOnLink || !isInside(destination);
    }),
  };
}

function containerDevices(host: HostSnapshot, store: readonly Address[]): ContainerDevices {
  const inside = host.links.filter((link) => !leadsOut(link, host, store));
  const virtual = new Set(inside.filter((link) => !isCard(link)).map(({ index }) => index));
  const gateways = host.addresses.flatMap(({ interfaceIndex, address, length }) => {
    const prefix = Prefix.of(address, length);
    const isFirst = address.value === prefix.base.value + 1n;
    return virtual.has(interfaceIndex) && isFirst ? [gatewayKey(interfaceIndex, prefix)] : [];
  });
  return { bridges: new Set(inside.filter(isBridge)), gateways: new Set(gateways) };
}

function gatewayKey(interfaceIndex: number, prefix: Prefix): string {
  return `${interfaceIndex} ${prefix}`;
}

function addressesOf(
  { addresses }: HostSnapshot,
  links: Links,
  { bridges, gateways }: ContainerDevices,
): LocalPrefix[] {
  return addresses.flatMap(({ interfaceIndex, address, length }) => {
    const link = links.get(interfaceIndex);
    if (link === undefined || isOverlayDevice(link.name) || address.isLoopback || address.isLinkLocal)
      return [];
    // What is in a VRF has tables of its own: the same addresses may have another meaning there.
    if (links.get(link.masterIndex ?? -1)?.type === "vrf") return [];
    const prefix = Prefix.of(address, length);
    const own = { ...localAddress(address, "address", link.name), mayBeContainers: bridges.has(link) };
    const hasGateway = gateways.has(gatewayKey(interfaceIndex, prefix));
    return [own, { ...own, prefix, kind: "link" as const, hasGateway }];
  });
}

/**
 * Without default routes, which every subnet is a part of, without routes that discard packets, because nothing is
 * reached by them, and without those of an overlay.
 */
function ofRoute(
  { destination, type, outputIndex, gateway, protocol }: HostRoute,
  links: Links,
  { bridges, gateways }: ContainerDevices,
): LocalPrefix[] {
  const link = outputIndex === null ? undefined : links.get(outputIndex);
  const isOverlay = protocol === ROUTE_PROTOCOL || (link !== undefined && isOverlayDevice(link.name));
  if (type !== RTN_UNICAST || isOverlay) return [];
  if (destination.base.isLinkLocal || destination.base.isMulticast) return [];
  const device = link === undefined ? "" : ` on ${link.name}`;
  const router =
    gateway === null || gateway.isLinkLocal ? [] : [localAddress(gateway, "gateway", `a gateway${device}`)];
  if (destination.length === 0) return router;
  const origin = link === undefined ? "a route" : `a route by ${link.name}`;
  const mayBeContainers = link !== undefined && bridges.has(link);
  const hasGateway =
    outputIndex !== null && gateway === null && gateways.has(gatewayKey(outputIndex, destination));
  return [{ prefix: destination, kind: "route", origin, gateway, mayBeContainers, hasGateway }, ...router];
}

/** An address of a bridge. */
export interface BridgeAddress {
  readonly bridge: string;
  readonly address: Address;
}

/** The addresses of all bridges of the host. */
export function bridgeAddresses({ links, addresses }: HostSnapshot): readonly BridgeAddress[] {
  const bridges = new Map(
    links.filter(({ type }) => type === "bridge").map(({ index, name }) => [index, name]),
  );
  return addresses.flatMap(({ interfaceIndex, address }) => {
    const bridge = bridges.get(interfaceIndex);
    return bridge === undefined ? [] : [{ bridge, address }];
  });
}

/** docker0, cni0 and their like; a container's veth without a bridge counts too. */
function isBridge({ type }: HostLink): boolean {
  return type === "bridge" || type === "veth";
}
