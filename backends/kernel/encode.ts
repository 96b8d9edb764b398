/** From a change to the rtnetlink request that makes it: the writing half of the port. No I/O. */

import { encodeDeleteAddress, encodeNewAddress } from "../netlink/address.ts";
import { EADDRNOTAVAIL, ENODEV, ENOENT, ESRCH, NetlinkError } from "../netlink/errors.ts";
import { encodeNewLink, encodeSetLink } from "../netlink/link.ts";
import type { VxlanChanges } from "../netlink/link-info/vxlan.ts";
import { CREATE, REPLACE } from "../netlink/message.ts";
import {
  encodeDeleteFdb,
  encodeDeleteNeighbour,
  encodeNewFdb,
  encodeNewNeighbour,
} from "../netlink/neighbour.ts";
import { encodeDeleteNexthop, encodeNewNexthop } from "../netlink/nexthop.ts";
import { encodeDeleteRoute, encodeNewRoute, type RouteSpec, RTN_BLACKHOLE } from "../netlink/route.ts";
import { type Change, isSameTunnel } from "../state/diff.ts";
import type { KernelObject, LinkObject, RouteObject } from "../state/objects.ts";
import { describe } from "../state/render.ts";
import type { DeviceTable } from "./device-table.ts";
import type { NexthopIds } from "./nexthop-ids.ts";

/** Objects that a batch of messages can carry; devices and sysctls are handled one by one. */
export type BatchObject = Exclude<KernelObject, { kind: "link" | "sysctl" }>;

export function isBatchObject(object: KernelObject): object is BatchObject {
  return object.kind !== "link" && object.kind !== "sysctl";
}

/** What a deletion of something absent answers, by the kernel's subsystem. */
const ABSENT: ReadonlySet<number> = new Set([ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL]);

/** True for the answer to deleting what is not there. */
export function isAbsent(error: NetlinkError): boolean {
  return ABSENT.has(error.errno);
}

/** The request for a change. Throws NetlinkError (ENODEV) when its device is not there. */
export function encodeChange(
  op: Change["op"],
  object: BatchObject,
  devices: DeviceTable,
  nexthopIds: NexthopIds,
): Uint8Array {
  const isDelete = op === "delete";
  if (object.kind === "route" && object.isBlackhole) return encodeBlackhole(op, object);
  const interfaceIndex = requireIndex(object.device, object, devices);
  switch (object.kind) {
    case "address": {
      const spec = { interfaceIndex, ...object.address };
      return isDelete ? encodeDeleteAddress(spec) : encodeNewAddress(spec);
    }
    case "neighbour": {
      // The device is ours alone, so an entry in the way (a stale or failed one) is simply replaced.
      const { address, mac } = object;
      if (isDelete || mac === null) return encodeDeleteNeighbour({ interfaceIndex, address });
      return encodeNewNeighbour({ interfaceIndex, address, mac }, REPLACE);
    }
    case "fdb": {
      const spec = { interfaceIndex, mac: object.mac, remote: object.remote };
      return isDelete ? encodeDeleteFdb({ interfaceIndex, mac: object.mac }) : encodeNewFdb(spec, REPLACE);
    }
    case "nexthop": {
      const id = nexthopIds.assign(object);
      if (isDelete) return encodeDeleteNexthop(id);
      const { gateway, isOnlink, protocol } = object;
      const spec = { id, outputIndex: interfaceIndex, gateway, isOnlink, protocol };
      return encodeNewNexthop(spec, op === "create" ? CREATE : REPLACE);
    }
    case "route": {
      const spec = routeSpec(object, interfaceIndex, nexthopIds, isDelete);
      if (isDelete) return encodeDeleteRoute(spec);
      // Without EXCL the kernel would overwrite a route that somebody made since the last look.
      return encodeNewRoute(spec, op === "create" ? CREATE : REPLACE);
    }
  }
}

/** `ip route add|replace|del blackhole PREFIX proto P metric M` */
function encodeBlackhole(op: Change["op"], { destination, protocol, metric }: RouteObject): Uint8Array {
  const spec = { destination, protocol, metric };
  // Without the type: a route through a nexthop object that became a blackhole shows as one, and is deleted as unicast.
  if (op === "delete") return encodeDeleteRoute(spec);
  return encodeNewRoute({ ...spec, type: RTN_BLACKHOLE }, op === "create" ? CREATE : REPLACE);
}

function routeSpec(route: RouteObject, outputIndex: number, ids: NexthopIds, isDelete: boolean): RouteSpec {
  const { destination, protocol, metric, gateway, source, isOnlink } = route;
  const common = { destination, protocol, metric, ...(source === null ? {} : { source }) };
  if (!route.viaNexthop) {
    return { ...common, outputIndex, isOnlink, ...(gateway === null ? {} : { gateway }) };
  }
  // A request that names a device never matches a route through a nexthop object (net/ipv4/fib_semantics.c).
  if (isDelete) return common;
  if (gateway === null) return { ...common, outputIndex };
  const nexthopId = ids.find({ device: route.device, gateway });
  if (nexthopId === undefined) throw new NetlinkError(`nexthop for ${describe(route)}`, ENOENT);
  return { ...common, nexthopId };
}

/** Removes the route that is in the place of ours, whoever made it. Null for all but the replacement of a route. */
export function encodeClearRoute(change: Change, devices: DeviceTable, ids: NexthopIds): Uint8Array | null {
  if (change.op !== "replace" || change.actual.kind !== "route") return null;
  const { actual } = change;
  const { outputIndex: _, ...withoutDevice } = routeSpec(actual, 0, ids, true);
  const outputIndex = actual.viaNexthop ? null : devices.indexOf(actual.device);
  return encodeDeleteRoute(outputIndex === null ? withoutDevice : { ...withoutDevice, outputIndex });
}

/** Creates a VXLAN device with its hardware address, so that no other program chooses one first. */
export function encodeCreateLink(link: LinkObject, devices: DeviceTable): Uint8Array {
  const { vxlan } = link;
  if (vxlan === undefined) throw new NetlinkError(`create ${describe(link)}: not a VXLAN device`, ENODEV);
  const { vni, local, port, learning, gbp } = vxlan;
  const parentIndex = requireIndex(vxlan.parent, link, devices);
  return encodeNewLink({
    ...changesOf(link),
    name: link.name,
    info: { kind: "vxlan", vni, port, learning, gbp, parentIndex, ...(local === null ? {} : { local }) },
  });
}

export function encodeLinkDown(index: number): Uint8Array {
  return encodeSetLink(index, { isUp: false });
}

export function encodeRenameLink(index: number, name: string): Uint8Array {
  return encodeSetLink(index, { name });
}

/**
 * Sets everything that an existing device lets change: the tunnel's entries stay, and packets flow on. Tunnel and
 * link are two requests, because the kernel takes no MTU beside a change of the tunnel (vxlan_nl2conf).
 */
export function encodeUpdateLink(
  link: LinkObject,
  actual: LinkObject,
  devices: DeviceTable,
): readonly Uint8Array[] {
  const index = requireIndex(link.name, link, devices);
  const { vxlan } = link;
  const changes = encodeSetLink(index, changesOf(link));
  // Old kernels refuse some attributes of the tunnel even when they stay the same.
  if (vxlan === undefined || isSameTunnel(vxlan, actual.vxlan)) return [changes];
  const { vni, learning, local } = vxlan;
  const parentIndex = requireIndex(vxlan.parent, link, devices);
  const info: VxlanChanges = {
    kind: "vxlan",
    vni,
    learning,
    parentIndex,
    ...(local === null ? {} : { local }),
  };
  return [encodeSetLink(index, { info }), changes];
}

function changesOf(link: LinkObject): {
  mac?: NonNullable<LinkObject["mac"]>;
  mtuBytes: number;
  isUp: boolean;
} {
  return { mtuBytes: link.mtuBytes, isUp: link.isUp, ...(link.mac === null ? {} : { mac: link.mac }) };
}

function requireIndex(device: string, object: KernelObject, devices: DeviceTable): number {
  const index = devices.indexOf(device);
  if (index !== null) return index;
  throw new NetlinkError(describe(object), ENODEV, { kernelMessage: `no device ${device}`, retryable: true });
}
