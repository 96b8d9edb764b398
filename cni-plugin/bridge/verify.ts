/** Compares what the kernel and the reservations say about an attachment with the result of its ADD. Reads only. */

import { decodeAddress, encodeAddressDump } from "../../backends/netlink/address.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { decodeLink, encodeGetLink, type Link } from "../../backends/netlink/link.ts";
import { decodeNeighbour, encodeNeighbourDump } from "../../backends/netlink/neighbour.ts";
import type { NetnsHandle } from "../../backends/netlink/netns.ts";
import { decodeRoute, encodeRouteDump, type Route } from "../../backends/netlink/route.ts";
import { FAMILIES } from "../../ipam/ip.ts";
import type { JsonObject } from "../../ipam/json.ts";
import type { Call } from "../call.ts";
import { CNI_CODES, CniError } from "../errors.ts";
import { heldBy } from "../ipam/allocate.ts";
import type { CniResult, ResultIp, ResultRoute } from "../result.ts";
import { addressesOf, isSame } from "./bridge.ts";
import { dataDirOf, withReservations } from "./detach.ts";
import { findLink, isErrno } from "./links.ts";
import type { BridgeOptions } from "./options.ts";

export interface Inspection {
  readonly call: Call;
  readonly delegate: JsonObject;
  readonly options: BridgeOptions;
  readonly expected: CniResult;
  readonly netns: NetnsHandle;
}

/** Every difference in words; none when all is well. Throws CniError 7 for another container's result. */
export function findDifferences(inspection: Inspection): readonly string[] {
  const ips = addressesOfContainer(inspection);
  const container = NetlinkConnection.open({ netns: inspection.netns });
  const host = NetlinkConnection.open();
  try {
    const link = findLink(container, inspection.call.interfaceName);
    const bridge = findLink(host, inspection.options.bridge);
    return [
      ...reservationDifferences(inspection, ips),
      ...(link === null
        ? [`${inspection.call.interfaceName} is missing`]
        : containerDifferences(inspection, container, link, ips, bridge)),
      ...(bridge === null
        ? [`bridge ${inspection.options.bridge} is missing`]
        : bridgeDifferences(inspection, host, bridge, ips)),
      ...(link === null || bridge === null ? [] : portDifferences(inspection, host, link, bridge)),
    ];
  } finally {
    container.close();
    host.close();
  }
}

/** The addresses in the result that belong to the interface which the call names. */
function addressesOfContainer({ call, expected }: Inspection): readonly ResultIp[] {
  const { interfaces, ips } = expected;
  const isOwn = ({ name, sandbox }: { readonly name: string; readonly sandbox?: string }) =>
    name === call.interfaceName && sandbox !== undefined;
  if (interfaces.length > 0 && !interfaces.some(isOwn)) {
    throw new CniError(
      CNI_CODES.invalidConfig,
      `prevResult has no interface ${call.interfaceName} in a container; pass the result of this container's ADD`,
    );
  }
  return ips.filter(({ interface: index }) => {
    const entry = index === null ? undefined : interfaces[index];
    return entry === undefined || isOwn(entry);
  });
}

function containerDifferences(
  { call, options, expected }: Inspection,
  container: NetlinkConnection,
  link: Link,
  ips: readonly ResultIp[],
  bridge: Link | null,
): readonly string[] {
  const { name } = link;
  const entry = expected.interfaces.find(({ name, sandbox }) => name === link.name && sandbox !== undefined);
  const present = container.dump(encodeAddressDump(link.index), decodeAddress);
  const routes = FAMILIES.flatMap((family) =>
    container.dump(encodeRouteDump(family, { outputIndex: link.index }), decodeRoute),
  ).filter(({ outputIndex }) => outputIndex === link.index);
  const missing = ips.filter(({ address }) => !present.some((found) => isSame(found, address)));
  return [
    ...unless(link.type === "veth", `${name} is of type "${link.type}", not veth`),
    ...unless(link.isUp, `${name} is down`),
    ...mtuDifference(name, link, options.mtuBytes),
    ...unless(
      entry?.sandbox === undefined || entry.sandbox === call.netnsPath,
      `prevResult is of namespace ${entry?.sandbox}`,
    ),
    ...unless(
      entry?.mac === undefined || entry.mac === link.mac,
      `${name} has address ${link.mac}, not ${entry?.mac}`,
    ),
    ...missing.map(({ address }) => `${name} lacks ${address.address}/${address.length}`),
    ...expected.routes
      .filter((route) => !routes.some((found) => isRoute(found, route, ips)))
      .map(({ destination }) => `the route to ${destination} is missing`),
    ...neighbourDifferences(container, link, ips, options, bridge),
  ];
}

function isRoute(found: Route, { destination, gateway }: ResultRoute, ips: readonly ResultIp[]): boolean {
  if (!found.destination.equals(destination)) return false;
  const via = gateway ?? ips.find(({ address }) => address.address.family === destination.family)?.gateway;
  return !via || found.gateway === null || found.gateway.equals(via);
}

/** What the container believes of its gateway; on a VLAN the gateway is another device than the bridge. */
function neighbourDifferences(
  container: NetlinkConnection,
  link: Link,
  ips: readonly ResultIp[],
  options: BridgeOptions,
  bridge: Link | null,
): readonly string[] {
  if (bridge === null || !options.isGateway || options.vlan !== 0) return [];
  return container
    .dump(encodeNeighbourDump(link.index), decodeNeighbour)
    .filter(
      ({ interfaceIndex, address, mac }) =>
        interfaceIndex === link.index &&
        mac !== null &&
        mac !== bridge.mac &&
        ips.some(({ gateway }) => gateway?.equals(address)),
    )
    .map(({ address, mac }) => `gateway ${address} is taken for ${mac}, but ${bridge.name} is ${bridge.mac}`);
}

function bridgeDifferences(
  { options, expected }: Inspection,
  host: NetlinkConnection,
  bridge: Link,
  ips: readonly ResultIp[],
): readonly string[] {
  const { name } = bridge;
  const entry = expected.interfaces.find((found) => found.name === name && found.sandbox === undefined);
  const device = options.vlan === 0 ? bridge : findLink(host, `${name}.${options.vlan}`);
  const present = device === null ? [] : addressesOf(host, device);
  const gateways = options.isGateway ? ips : [];
  return [
    ...unless(bridge.type === "bridge", `${name} is no bridge`),
    ...unless(bridge.isUp, `${name} is down`),
    ...unless(
      entry?.mac === undefined || entry.mac === bridge.mac,
      `${name} has address ${bridge.mac}, not ${entry?.mac}`,
    ),
    ...gateways
      .filter(({ gateway }) => gateway && !present.some(({ address }) => address.equals(gateway)))
      .map(({ gateway }) => `${device?.name ?? name} lacks the gateway's address ${gateway}`),
  ];
}

/** The container's end names its peer by the peer's index on the host. */
function portDifferences(
  { options }: Inspection,
  host: NetlinkConnection,
  link: Link,
  bridge: Link,
): readonly string[] {
  const port = link.linkIndex === null ? null : findByIndex(host, link.linkIndex);
  if (port === null) return [`the host's end of ${link.name} is missing`];
  const { name, bridgePort } = port;
  return [
    ...unless(port.isUp, `${name} is down`),
    ...unless(port.masterIndex === bridge.index, `${name} is no port of ${bridge.name}`),
    ...mtuDifference(name, port, options.mtuBytes),
    ...unless(!options.hairpinMode || bridgePort?.hairpin !== false, `${name} is not in hairpin mode`),
    ...unless(!options.portIsolation || bridgePort?.isolated !== false, `${name} is not isolated`),
  ];
}

function findByIndex(host: NetlinkConnection, index: number): Link | null {
  try {
    return host.get(encodeGetLink({ index }), decodeLink);
  } catch (error) {
    if (isErrno(error, "ENODEV")) return null;
    throw error;
  }
}

function reservationDifferences({ call, delegate }: Inspection, ips: readonly ResultIp[]): readonly string[] {
  const held = withReservations(dataDirOf(delegate), call.networkName, (store) => heldBy(store, call)) ?? [];
  return ips
    .filter(({ address }) => !held.some((entry) => entry.address.equals(address.address)))
    .map(({ address }) => `${address.address} is not reserved for it`);
}

function mtuDifference(name: string, link: Link, wantedBytes: number): readonly string[] {
  return unless(
    wantedBytes === 0 || link.mtuBytes === wantedBytes,
    `${name} has MTU ${link.mtuBytes}, not ${wantedBytes}`,
  );
}

function unless(holds: boolean, difference: string): readonly string[] {
  return holds ? [] : [difference];
}
