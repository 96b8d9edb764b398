/** The container's end of the pair: addresses, routes, up. Works inside the container's namespace only. */

import type { Address, Family } from "../../ipam/addresses/ip.ts";
import type { Allocation } from "../../ipam/containers/ranges.ts";
import { NetlinkConnection } from "../netlink/connection.ts";
import { encodeSetLink, type Link } from "../netlink/link/link.ts";
import { type NetnsHandle, withNetns } from "../netlink/netns.ts";
import { encodeNewRoute, type RouteSpec } from "../netlink/route.ts";
import { addAddress } from "./addresses.ts";
import { getLink, ignoring } from "./links.ts";
import type { ContainerRoute, ContainerSpec } from "./spec.ts";
import { preferSysctl, readSysctl, requireSysctl } from "./sysctl.ts";

/**
 * Gives the interface its addresses, raises it, adds the routes, and returns it as it is then. `hasGateway`: this host is
 * the only router on the bridge. Throws NetlinkError.
 */
export function configureContainer(
  { netns, name, addresses, routes }: ContainerSpec,
  hasGateway: boolean,
): Link {
  const families = new Set(addresses.map(({ gateway }) => gateway.family));
  withNetns(netns, () => prepareInterface(name, families, hasGateway));
  const container = NetlinkConnection.open({ netns });
  try {
    const link = getLink(container, name);
    for (const { address } of addresses) addAddress(container, link, address);
    container.request(encodeSetLink(link.index, { isUp: true }));
    for (const route of routes) {
      const spec = routeSpec(route, link.index, addresses);
      ignoring(["EEXIST"], () => container.request(encodeNewRoute(spec)));
    }
    return link;
  } finally {
    container.close();
  }
}

/**
 * Tells neighbours that knew an earlier holder of the addresses about this one (arp_notify, ndisc_notify in Linux'
 * ip-sysctl). The kernel does so when the interface comes up, too early for a bridge whose port is not open then; and
 * again when the hardware address is set, also to what it is. Throws NetlinkError.
 */
export function announce(netns: NetnsHandle, { index, mac }: Link): void {
  if (mac === null) return;
  const container = NetlinkConnection.open({ netns });
  try {
    container.request(encodeSetLink(index, { mac }));
  } finally {
    container.close();
  }
}

/** Takes the interface's IPv6 addresses and routes, until configureContainer() gives it others. Absent is a success. */
export function switchIpv6Off(netns: NetnsHandle, name: string): void {
  withNetns(netns, () => preferSysctl(`ipv6/conf/${name}/disable_ipv6`, "1"));
}

/** Runtimes may start containers with IPv6 off. For the notifications see announce(). */
function prepareInterface(name: string, families: ReadonlySet<Family>, hasGateway: boolean): void {
  preferSysctl(`ipv4/conf/${name}/arp_notify`, "1");
  // Otherwise one container could become the default router of the others (CVE-2020-10749).
  if (hasGateway) preferSysctl(`ipv6/conf/${name}/accept_ra`, "0");
  if (!families.has(6)) return;
  for (const device of ["lo", name]) {
    const setting = `ipv6/conf/${device}/disable_ipv6`;
    if (readSysctl(setting) !== null) requireSysctl(setting, "0");
  }
  preferSysctl(`ipv6/conf/${name}/ndisc_notify`, "1");
  // Otherwise "ip link set down" and "up" in the container lose its IPv6 addresses, but not the IPv4 ones.
  preferSysctl(`ipv6/conf/${name}/keep_addr_on_down`, "1");
}

/** What to ask the kernel for. */
function routeSpec(route: ContainerRoute, outputIndex: number, addresses: readonly Allocation[]): RouteSpec {
  const { gateway, ...rest } = route;
  const isDirect = route.scope !== undefined && route.scope > 0;
  const via = gateway ?? (isDirect ? undefined : gatewayFor(route.destination.family, addresses));
  return { ...rest, outputIndex, ...(via !== undefined && { gateway: via }) };
}

function gatewayFor(family: Family, addresses: readonly Allocation[]): Address | undefined {
  return addresses.find(({ gateway }) => gateway.family === family)?.gateway;
}
