/**
 * From what rtnetlink shows to kernel objects: the reading half of the port. No I/O.
 *
 * Each function answers null for what tulle has no word for; such a thing is nobody's business here.
 */

import type { KernelAddress } from "../netlink/address.ts";
import type { Link } from "../netlink/link.ts";
import { type FdbEntry, type Neighbour, NUD_PERMANENT } from "../netlink/neighbour.ts";
import type { Nexthop } from "../netlink/nexthop.ts";
import { type Route, RT_TABLE_MAIN, RTN_BLACKHOLE } from "../netlink/route.ts";
import type {
  AddressObject,
  FdbObject,
  LinkObject,
  NeighbourObject,
  NexthopObject,
  RouteObject,
} from "../state/objects.ts";
import type { DeviceTable } from "./device-table.ts";

export function linkObject(link: Link, devices: DeviceTable): LinkObject {
  const object: LinkObject = {
    kind: "link",
    name: link.name,
    type: link.type,
    mac: link.mac,
    mtuBytes: link.mtuBytes,
    isUp: link.isUp,
  };
  const { vxlan } = link;
  if (vxlan === undefined) return object;
  const { vni, local, port, learning, gbp } = vxlan;
  const extras = link.masterIndex === null ? vxlan.options : [...vxlan.options, "master"];
  return {
    ...object,
    vxlan: { vni, local, parent: devices.nameOf(vxlan.parentIndex), port, learning, gbp },
    ...(extras.length === 0 ? {} : { extras }),
  };
}

export function addressObject(
  { interfaceIndex, address, length }: KernelAddress,
  devices: DeviceTable,
): AddressObject {
  return { kind: "address", device: devices.nameOf(interfaceIndex), address: { address, length } };
}

/**
 * Routes of the main table that every packet can take. Those that lead to no single device (multipath, blackhole) show
 * with an empty one, also in IPv6, where the kernel shows a blackhole on the loopback device.
 */
export function routeObject(route: Route, devices: DeviceTable): RouteObject | null {
  if (route.table !== RT_TABLE_MAIN || route.tos !== 0) return null;
  const isBlackhole = route.type === RTN_BLACKHOLE;
  return {
    kind: "route",
    destination: route.destination,
    ...(isBlackhole ? { isBlackhole } : {}),
    device: isBlackhole ? "" : devices.nameOf(route.outputIndex),
    gateway: route.gateway,
    isOnlink: route.isOnlink,
    protocol: route.protocol,
    metric: route.metric,
    viaNexthop: route.nexthopId !== null,
    source: route.source,
    ...(route.hasExtras ? { hasExtras: true } : {}),
  };
}

export function nexthopObject(nexthop: Nexthop, devices: DeviceTable): NexthopObject | null {
  const { gateway, isOnlink, protocol, sort } = nexthop;
  if (sort !== "single" || gateway === null) return null;
  return { kind: "nexthop", device: devices.nameOf(nexthop.outputIndex), gateway, isOnlink, protocol };
}

export function neighbourObject(neighbour: Neighbour, devices: DeviceTable): NeighbourObject {
  const { address, mac, state } = neighbour;
  const device = devices.nameOf(neighbour.interfaceIndex);
  return { kind: "neighbour", device, address, mac, isPermanent: (state & NUD_PERMANENT) !== 0 };
}

export function fdbObject(entry: FdbEntry, devices: DeviceTable): FdbObject | null {
  const { mac, remote, state } = entry;
  if (remote === null) return null;
  const device = devices.nameOf(entry.interfaceIndex);
  const isPermanent = (state & NUD_PERMANENT) !== 0;
  return { kind: "fdb", device, mac, remote, isPermanent, ...(entry.isDetour ? { isDetour: true } : {}) };
}
