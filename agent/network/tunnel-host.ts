/** Derives what a backend must know of the host, and the hardware addresses of its devices. */

import { existsSync } from "node:fs";
import type {
  BackendOptions,
  DeviceIdentity,
  HostFacts,
  PreparedBackend,
  Uplink,
} from "../../backends/backend.ts";
import type { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { RTN_UNICAST } from "../../backends/netlink/route.ts";
import { ROUTE_PROTOCOL } from "../../backends/state/contract/kind.ts";
import {
  ADDRESS_BITS,
  entriesOf,
  type Family,
  mapFamilies,
  type PerFamily,
  Prefix,
} from "../../ipam/addresses/ip.ts";
import type { Mac } from "../../ipam/addresses/mac.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import type { ChosenInterface, ChosenInterfaces } from "../host/choose-interface.ts";
import type { HostRoute, HostSnapshot } from "../host/host-snapshot.ts";
import type { Identity } from "../host/identity.ts";

/** What was known of the host until now. */
interface FormerFacts {
  readonly chosen: ChosenInterfaces;
  readonly host: HostFacts;
}

/** What the backend plans with. A family whose choice is that of `before` stays as it was, whatever the host has now. */
export function hostFactsOf(
  chosen: ChosenInterfaces,
  host: HostSnapshot,
  { families }: Pick<NetworkConfig, "families">,
  before: FormerFacts | null = null,
): HostFacts {
  const uplinks = mapFamilies(chosen, (choice, family): Uplink => {
    const kept = before?.chosen[family] === choice ? before.host.uplinks[family] : undefined;
    return kept ?? uplinkOf(choice, host, family);
  });
  const networks = mapFamilies(families, ({ network }) => network);
  return { uplinks, networks, hasIpv6: existsSync("/proc/sys/net/ipv6") };
}

function uplinkOf(
  { link, address, publicAddress }: ChosenInterface,
  host: HostSnapshot,
  family: Family,
): Uplink {
  const onLink = onLinkPrefixes(host, link.index, family);
  return {
    interface: link.name,
    mtuBytes: link.mtuBytes,
    address,
    publicAddress,
    onLinkPrefixes: onLink,
    routedPrefixes: routedPrefixes(host, link.index, onLink),
  };
}

/**
 * The prefixes of the interface's addresses and of its routes to them, each once: hosts inside are reached without a router.
 * An address alone, such as a virtual one of keepalived, has no hosts around it. One of DHCPv6 has them by a route.
 */
function onLinkPrefixes(host: HostSnapshot, interfaceIndex: number, family: Family): readonly Prefix[] {
  const addresses = host.addresses.filter(
    (one) => one.interfaceIndex === interfaceIndex && one.address.family === family,
  );
  const isOwn = (prefix: Prefix): boolean => addresses.some(({ address }) => prefix.contains(address));
  const routed = host.routes.filter((one) => isOfLink(one, interfaceIndex) && isOwn(one.destination));
  const prefixes = [
    ...addresses.map(({ address, length }) => Prefix.of(address, length)),
    ...routed.map(({ destination }) => destination),
  ].filter(({ length }) => length < ADDRESS_BITS[family]);
  const distinct = new Map(prefixes.map((prefix) => [prefix.toString(), prefix]));
  return [...distinct].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, prefix]) => prefix);
}

/** A default route without a router, as of a point-to-point link, tells nothing of who is there. */
function isOfLink(
  { type, destination, gateway, outputIndex, protocol }: HostRoute,
  interfaceIndex: number,
): boolean {
  const isNear = type === RTN_UNICAST && gateway === null && outputIndex === interfaceIndex;
  return isNear && destination.length > 0 && protocol !== ROUTE_PROTOCOL;
}

/** Destinations inside `onLink` to which the first route leads by a router, or by another interface. */
function routedPrefixes(
  { routes }: HostSnapshot,
  interfaceIndex: number,
  onLink: readonly Prefix[],
): readonly Prefix[] {
  const first = new Map<string, HostRoute>();
  for (const route of routes) {
    const { destination, type, protocol } = route;
    if (type !== RTN_UNICAST || protocol === ROUTE_PROTOCOL || first.has(String(destination))) continue;
    if (onLink.some((prefix) => prefix.contains(destination))) first.set(String(destination), route);
  }
  return [...first.values()]
    .filter(({ gateway, outputIndex }) => gateway !== null || outputIndex !== interfaceIndex)
    .map(({ destination }) => destination);
}

/** What a prepared backend uses of the host, as a text. Only one that routes on the interface itself uses its links. */
export function usedFacts(
  { uplinks, networks, hasIpv6 }: HostFacts,
  { sharedDevices }: Pick<PreparedBackend, "sharedDevices">,
): string {
  const links = (prefixes: readonly Prefix[]) => (sharedDevices.length === 0 ? [] : prefixes);
  const facts = mapFamilies(uplinks, (uplink) => {
    const { address, publicAddress, onLinkPrefixes, routedPrefixes = [], ...rest } = uplink;
    return {
      ...rest,
      address: `${address}`,
      publicAddress: `${publicAddress}`,
      onLinkPrefixes: links(onLinkPrefixes).join(),
      routedPrefixes: links(routedPrefixes).join(),
    };
  });
  return JSON.stringify([facts, mapFamilies(networks, String), hasIpv6]);
}

/**
 * Decides the hardware address of each device before it exists, and records it. An existing device that can be kept
 * keeps its own, because peers know it. A new one gets the one derived from the identity, and so does a device with
 * the address of the host whose disk was copied.
 */
export async function settleDeviceMacs(
  port: RtnetlinkPort,
  options: BackendOptions,
  devices: PerFamily<string>,
  identity: Identity,
  network: string | null,
): Promise<DeviceIdentity> {
  const macs = new Map<string, Mac>();
  for (const [, device] of entriesOf(devices)) {
    const existing = existingMac(port, options, device);
    const mac =
      existing === null || identity.isDiscarded(existing) ? identity.deviceMac(device, network) : existing;
    macs.set(device, mac);
    await identity.setDeviceMac(device, mac, network);
  }
  return {
    macFor(device) {
      const mac = macs.get(device);
      if (mac === undefined) throw new Error(`no hardware address was settled for ${device}`);
      return mac;
    },
  };
}

function existingMac(port: RtnetlinkPort, options: BackendOptions, device: string): Mac | null {
  const link = port.findLink(device);
  return link !== null && options.canAdopt(link) ? link.mac : null;
}
