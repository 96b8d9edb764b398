/** Whether this host forwards the packets of its containers. Reads only. */

import { countPorts } from "../../backends/attachment/bridge.ts";
import { isForwarding } from "../../backends/attachment/forwarding.ts";
import { readSysctl } from "../../backends/attachment/sysctl.ts";
import { decodeAddress, encodeAddressDump, type KernelAddress } from "../../backends/netlink/address.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { decodeLink, encodeLinkDump, type Link } from "../../backends/netlink/link/link.ts";
import { ADDRESS_BITS, entriesOf, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import { type Cause, causeOf } from "./causes.ts";

const SETTING = { 4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding" } as const;

/**
 * The troubles of a host with containers that does not forward: probes, which come from the host itself, do not notice.
 * None before there is a device with an address of this host's subnet. Throws NetlinkError.
 *
 * IPv6 addresses go when a bridge is set down: there only the address of the other family tells.
 */
export function forwardingTroubles(
  netlink: NetlinkConnection,
  ownSubnets: PerFamily<Prefix>,
): readonly Cause[] {
  const present: readonly KernelAddress[] = netlink.dump(encodeAddressDump(), decodeAddress);
  const served = entriesOf(ownSubnets).flatMap(([family, subnet]) => {
    const own = present.filter(({ address }) => subnet.contains(address));
    // The tunnel device has an address of the subnet too, but no link's worth of it.
    const isServed = own.some(({ length }) => length < ADDRESS_BITS[family]);
    return isServed ? [{ family, own }] : [];
  });
  if (served.length === 0) return [];
  const links: readonly Link[] = netlink.dump(encodeLinkDump(), decodeLink);
  const devicesOf = (own: readonly KernelAddress[]): readonly Link[] =>
    links.filter(({ index }) => own.some(({ interfaceIndex }) => interfaceIndex === index));
  const settings = served.flatMap(({ family, own }) => {
    if (!isForwarding(family)) return [SETTING[family]];
    // In IPv6 the setting of a device makes no difference (net/ipv6/ip6_output.c, ip6_forward).
    return family === 4 ? devicesOf(own).filter(isNotForwarding).map(deviceSetting) : [];
  });
  const bridges = devicesOf(served.flatMap(({ own }) => own)).filter((link) => isDownBridge(netlink, link));
  return [
    ...(settings.length === 0 ? [] : [notForwarded(settings)]),
    ...(bridges.length === 0 ? [] : [cutOffBehind(bridges.map(({ name }) => name))]),
  ];
}

function notForwarded(settings: readonly string[]): Cause {
  return causeOf(
    "forwarding-off",
    `this host does not forward its containers' packets: ${allOf(settings, "0")}`,
  );
}

function cutOffBehind(bridges: readonly string[]): Cause {
  return causeOf(
    "bridge-down",
    `no packet reaches or leaves this host's containers: ${allOf(bridges, "down")}`,
  );
}

function allOf(names: readonly string[], state: string): string {
  return `${names.join(" and ")} ${names.length === 1 ? "is" : "are"} ${state}`;
}

/** By the device that a packet arrives by, a bridge or the tunnel's (net/ipv4/route.c, ip_route_input_slow). */
function isNotForwarding({ name }: Link): boolean {
  return readSysctl(`ipv4/conf/${name}/forwarding`) === "0";
}

/** As sysctl(8) writes it: a dot in the name of a device is a slash. */
function deviceSetting({ name }: Link): string {
  return `net.ipv4.conf.${name.replaceAll(".", "/")}.forwarding`;
}

/** One without containers may be down on purpose. */
function isDownBridge(netlink: NetlinkConnection, link: Link): boolean {
  return link.type === "bridge" && !link.isUp && countPorts(netlink, link) > 0;
}
