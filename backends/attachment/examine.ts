/** Compares what the kernel says about an attachment with what it should be. Reads only. */

import { FAMILIES } from "../../ipam/addresses/ip.ts";
import { decodeAddress, encodeAddressDump } from "../netlink/address.ts";
import { NetlinkConnection } from "../netlink/connection.ts";
import type { Link } from "../netlink/link/link.ts";
import { decodeNeighbour, encodeNeighbourDump, NUD_NOARP, NUD_PERMANENT } from "../netlink/neighbour.ts";
import { decodeRoute, encodeRouteDump, type Route } from "../netlink/route.ts";
import { isSame } from "./addresses.ts";
import { bridgeDifferences, portDifferences } from "./examine-host.ts";
import {
  type Expected,
  type ExpectedAddress,
  type ExpectedContainer,
  mtuDifference,
  unless,
} from "./expected.ts";
import { findLink } from "./links.ts";
import type { ContainerRoute, RuleSpec } from "./spec.ts";

/** Every difference in words; none when all is well. Throws NetlinkError. */
export function findDifferences(expected: Expected): readonly string[] {
  const container = NetlinkConnection.open({ netns: expected.netns });
  const host = NetlinkConnection.open();
  try {
    const { name } = expected.container;
    const link = findLink(container, name);
    const bridge = findLink(host, expected.bridge.name);
    return [
      ...(link === null ? [`${name} is missing`] : containerDifferences(expected, container, link, bridge)),
      ...(bridge === null
        ? [`bridge ${expected.bridge.name} is missing`]
        : bridgeDifferences(expected, host, bridge)),
      ...(link === null || bridge === null ? [] : portDifferences(expected, host, link, bridge)),
    ];
  } finally {
    container.close();
    host.close();
  }
}

/** The same for rules of the firewall, which other programs have to be asked for. Throws FirewallError. */
export async function findRuleDifferences(
  network: string,
  port: string,
  rules: RuleSpec,
  { addresses, mac }: ExpectedContainer,
): Promise<readonly string[]> {
  const { ruleDifferences } = await import("./rules/protection.ts");
  const plain = addresses.map(({ address }) => address.address);
  return ruleDifferences({ network, rules, port, addresses: plain }, mac);
}

function containerDifferences(
  { container: wanted, bridge: { gateway }, port }: Expected,
  container: NetlinkConnection,
  link: Link,
  bridge: Link | null,
): readonly string[] {
  const { name } = link;
  const present = container.dump(encodeAddressDump(link.index), decodeAddress);
  const routes = FAMILIES.flatMap((family) =>
    container.dump(encodeRouteDump(family, { outputIndex: link.index }), decodeRoute),
  ).filter(({ outputIndex }) => outputIndex === link.index);
  const missing = wanted.addresses.filter(({ address }) => !present.some((found) => isSame(found, address)));
  // On a VLAN the gateway is another device than the bridge.
  const gatewayDevice = gateway !== null && port.vlans.untagged === 0 ? bridge : null;
  return [
    ...unless(link.type === "veth", `${name} is of type "${link.type}", not veth`),
    ...unless(link.isUp, `${name} is down`),
    ...mtuDifference(name, link, wanted.mtuBytes),
    ...unless(
      wanted.mac === undefined || wanted.mac === link.mac,
      `${name} has address ${link.mac}, not ${wanted.mac}`,
    ),
    ...missing.map(({ address }) => `${name} lacks ${address.address}/${address.length}`),
    ...wanted.routes
      .filter((route) => !routes.some((found) => isRoute(found, route, wanted.addresses)))
      .map(({ destination }) => `the route to ${destination} is missing`),
    ...(gatewayDevice === null ? [] : neighbourDifferences(container, link, wanted.addresses, gatewayDevice)),
  ];
}

function isRoute(
  found: Route,
  { destination, gateway }: ContainerRoute,
  addresses: readonly ExpectedAddress[],
): boolean {
  if (!found.destination.equals(destination)) return false;
  const via =
    gateway ?? addresses.find(({ address }) => address.address.family === destination.family)?.gateway;
  return !via || found.gateway === null || found.gateway.equals(via);
}

/** Static entries only: one that the container learned is corrected by the next packet after the bridge changed. */
function neighbourDifferences(
  container: NetlinkConnection,
  link: Link,
  addresses: readonly ExpectedAddress[],
  bridge: Link,
): readonly string[] {
  return container
    .dump(encodeNeighbourDump(link.index), decodeNeighbour)
    .filter(
      ({ interfaceIndex, address, mac, state }) =>
        interfaceIndex === link.index &&
        (state & (NUD_PERMANENT | NUD_NOARP)) !== 0 &&
        mac !== null &&
        mac !== bridge.mac &&
        addresses.some(({ gateway }) => gateway?.equals(address)),
    )
    .map(
      ({ address, mac }) =>
        `the neighbour entry of gateway ${address} is ${mac}, but ${bridge.name} has ${bridge.mac}`,
    );
}
