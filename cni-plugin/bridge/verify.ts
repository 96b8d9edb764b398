/** Compares what the kernel and the reservations say about an attachment with the result of its ADD. Reads only. */

import { decodeAddress, encodeAddressDump } from "../../backends/netlink/address.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import type { Link } from "../../backends/netlink/link/link.ts";
import { decodeNeighbour, encodeNeighbourDump } from "../../backends/netlink/neighbour.ts";
import { decodeRoute, encodeRouteDump, type Route } from "../../backends/netlink/route.ts";
import { FAMILIES } from "../../ipam/addresses/ip.ts";
import { CNI_CODES, CniError } from "../errors.ts";
import { heldBy } from "../ipam/allocate.ts";
import type { ResultIp, ResultRoute } from "../result.ts";
import { isSame } from "./bridge.ts";
import { dataDirOf, withReservations } from "./detach.ts";
import { type Inspection, mtuDifference, unless } from "./inspection.ts";
import { findLink } from "./links.ts";
import { type BridgeOptions, usesFirewall } from "./options.ts";
import { hostDeviceName } from "./pair.ts";
import { isTuned } from "./tuned.ts";
import { bridgeDifferences, portDifferences } from "./verify-host.ts";

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

/** The same for rules of the firewall, which other programs have to be asked for. Rules that we did not make are not ours. */
export async function findRuleDifferences(inspection: Inspection): Promise<readonly string[]> {
  const { call, delegate, expected } = inspection;
  const { networkName } = call;
  const port = hostDeviceName(networkName, call);
  if (!usesFirewall(delegate) || !expected.interfaces.some(({ name }) => name === port)) return [];
  const { ruleDifferences } = await import("../firewall/protection.ts");
  const addresses = addressesOfContainer(inspection).map(({ address }) => address.address);
  const mac = expected.interfaces.find(({ name, sandbox }) => name === call.interfaceName && sandbox)?.mac;
  return ruleDifferences({ networkName, delegate, port, addresses }, mac);
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
    ...(isTuned(call, "mtu") ? [] : mtuDifference(name, link, options.mtuBytes)),
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

function reservationDifferences({ call, delegate }: Inspection, ips: readonly ResultIp[]): readonly string[] {
  const held = withReservations(dataDirOf(delegate), call.networkName, (store) => heldBy(store, call)) ?? [];
  return ips
    .filter(({ address }) => !held.some((entry) => entry.address.equals(address.address)))
    .map(({ address }) => `${address.address} is not reserved for it`);
}
