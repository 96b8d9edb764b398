/** What this host reaches without the overlay, from a snapshot of its interfaces and routes. Pure. */

import { isOverlayDevice } from "../../backends/registry.ts";
import { ROUTE_PROTOCOL } from "../../backends/state/contract/kind.ts";
import { type Address, Prefix } from "../../ipam/addresses/ip.ts";
import { type LocalPrefix, localAddress } from "../../ipam/addresses/local-prefixes.ts";
import type { HostLink, HostSnapshot } from "./host-snapshot.ts";

/** `store` is an address of the lease store, null when it is local or known only by name. */
export function localPrefixes(host: HostSnapshot, store: Address | null): readonly LocalPrefix[] {
  const links = new Map(host.links.map((link) => [link.index, link]));
  return [
    ...addressesOf(host, links),
    ...routesOf(host, links),
    ...(store === null ? [] : [localAddress(store, "store", "the lease store")]),
  ];
}

function addressesOf({ addresses }: HostSnapshot, links: ReadonlyMap<number, HostLink>): LocalPrefix[] {
  return addresses.flatMap(({ interfaceIndex, address, length }) => {
    const link = links.get(interfaceIndex);
    if (link === undefined || isOverlayDevice(link.name) || address.isLoopback || address.isLinkLocal)
      return [];
    const prefix = Prefix.of(address, length);
    const own = { ...localAddress(address, "address", link.name), mayBeContainers: isBridge(link) };
    return [own, { ...own, prefix, kind: "link" as const }];
  });
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

/** Without default routes, which every subnet is a part of, and without those of an overlay. */
function routesOf({ routes }: HostSnapshot, links: ReadonlyMap<number, HostLink>): LocalPrefix[] {
  return routes.flatMap(({ destination, outputIndex, gateway, protocol }) => {
    const link = outputIndex === null ? undefined : links.get(outputIndex);
    const isOverlay = protocol === ROUTE_PROTOCOL || (link !== undefined && isOverlayDevice(link.name));
    if (destination.length === 0 || isOverlay || destination.base.isLinkLocal || destination.base.isMulticast)
      return [];
    const origin = link === undefined ? "a route" : `a route by ${link.name}`;
    const mayBeContainers = link !== undefined && isBridge(link);
    return [{ prefix: destination, kind: "route" as const, origin, gateway, mayBeContainers }];
  });
}

/** docker0, cni0 and their like; a container's veth without a bridge counts too. */
function isBridge({ type }: HostLink): boolean {
  return type === "bridge" || type === "veth";
}
