/** The container's end of the pair: addresses, routes, up. Works inside the container's namespace only. */

import { encodeNewAddress, IFA_F_NODAD } from "../../backends/netlink/address.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { encodeSetLink, type Link } from "../../backends/netlink/link/link.ts";
import { type NetnsHandle, withNetns } from "../../backends/netlink/netns.ts";
import { encodeNewRoute, type RouteSpec } from "../../backends/netlink/route.ts";
import { Address, type Family, Prefix } from "../../ipam/addresses/ip.ts";
import type { JsonValue } from "../../ipam/json.ts";
import { CNI_CODES, CniError } from "../errors.ts";
import type { Allocation, IpamConfig } from "../ipam/ranges.ts";
import type { ResultRoute } from "../result.ts";
import { getLink, ignoring } from "./links.ts";
import { ensureSysctl, ensureSysctlIfPresent } from "./sysctl.ts";

/**
 * Gives the interface its addresses, raises it and adds the routes; answers it as it is then.
 * Throws NetlinkError, and CniError 7 for a route that leads nowhere.
 */
export function configureContainer(
  netns: NetnsHandle,
  name: string,
  allocations: readonly Allocation[],
  routes: readonly ResultRoute[],
): Link {
  const hasFamily = (family: Family) => allocations.some(({ gateway }) => gateway.family === family);
  withNetns(netns, () => announceAddresses(name, hasFamily(6)));
  const container = NetlinkConnection.open({ netns });
  try {
    const link = getLink(container, name);
    for (const { address } of allocations) {
      // The address is ours by reservation: there is nobody to ask, and the container need not wait a second.
      const flags = address.address.family === 6 ? { flags: IFA_F_NODAD } : {};
      container.request(encodeNewAddress({ interfaceIndex: link.index, ...address, ...flags }));
    }
    container.request(encodeSetLink(link.index, { isUp: true }));
    for (const route of routes) {
      const spec = routeSpec(route, link.index, allocations);
      ignoring(["EEXIST"], () => container.request(encodeNewRoute(spec)));
    }
    return link;
  } finally {
    container.close();
  }
}

/** Neighbours that knew an earlier holder of the address learn the new one when the interface comes up. */
function announceAddresses(name: string, hasIpv6: boolean): void {
  ensureSysctlIfPresent(`ipv4/conf/${name}/arp_notify`, "1");
  if (!hasIpv6) return;
  ensureSysctl(`ipv6/conf/${name}/disable_ipv6`, "0");
  ensureSysctlIfPresent(`ipv6/conf/${name}/ndisc_notify`, "1");
}

/** What to ask the kernel for. A route without a gateway goes by the gateway of its family. */
export function routeSpec(
  { destination, gateway, extras }: ResultRoute,
  outputIndex: number,
  allocations: readonly Allocation[],
): RouteSpec {
  const scope = numberOr(extras.scope);
  const isDirect = scope !== undefined && scope > 0;
  const via = gateway ?? (isDirect ? undefined : gatewayFor(destination.family, allocations));
  const table = numberOr(extras.table);
  const metric = numberOr(extras.priority);
  const mtuBytes = numberOr(extras.mtu);
  const advertisedMss = numberOr(extras.advmss);
  return {
    destination,
    outputIndex,
    ...(via !== undefined && { gateway: via }),
    ...(scope !== undefined && { scope }),
    ...(table !== undefined && { table }),
    ...(metric !== undefined && { metric }),
    ...(mtuBytes !== undefined && { mtuBytes }),
    ...(advertisedMss !== undefined && { advertisedMss }),
  };
}

/** The configured routes and, where asked for, a default route per family that has none. */
export function routesFor(
  configured: readonly ResultRoute[],
  allocations: readonly Allocation[],
  isDefaultGateway: boolean,
): readonly ResultRoute[] {
  if (!isDefaultGateway) return configured;
  const missing = allocations.filter(
    ({ gateway: { family } }) => !configured.some((route) => isDefaultOf(route, family)),
  );
  return [
    ...configured,
    ...missing.map(({ gateway }) => ({
      destination: Prefix.of(Address.of(gateway.family, 0n), 0),
      gateway,
      extras: {},
    })),
  ];
}

/** Refuses a default route past the gateway where `isDefaultGateway` asks for one by it. Throws CniError 7. */
export function requireOwnDefault({ routes, rangeSets }: IpamConfig): void {
  const gateways = rangeSets.flat().map(({ gateway }) => gateway);
  for (const { destination, gateway } of routes) {
    if (destination.length > 0 || gateway === null || gateways.some((own) => own.equals(gateway))) continue;
    throw new CniError(
      CNI_CODES.invalidConfig,
      `isDefaultGateway: true is wrong; ipam.routes has a default route by ${gateway}, keep one of the two`,
    );
  }
}

function isDefaultOf({ destination, gateway }: ResultRoute, family: Family): boolean {
  return destination.family === family && destination.length === 0 && gateway !== null;
}

function gatewayFor(family: Family, allocations: readonly Allocation[]): Address | undefined {
  return allocations.find(({ gateway }) => gateway.family === family)?.gateway;
}

function numberOr(value: JsonValue | undefined): number | undefined {
  return typeof value === "number" ? value : undefined;
}
