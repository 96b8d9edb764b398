/**
 * The kinds of kernel object, one line each: what a plan wants and what a dump shows, in one vocabulary.
 *
 * Devices go by name, never by index, so that a plan can be made before its device exists and survives the device's
 * re-creation. Pure.
 */

import type { Kind, ObjectKey, Owner, Scope } from "../contract/kind.ts";
import { type AddressObject, addressKind } from "./address.ts";
import { type BridgeFdbObject, bridgeFdbKind } from "./bridge-fdb.ts";
import { type BridgePortObject, bridgePortKind } from "./bridge-port.ts";
import { type FdbObject, fdbKind } from "./fdb.ts";
import { type LinkObject, linkKind } from "./link.ts";
import { type NeighbourObject, neighbourKind } from "./neighbour.ts";
import { type NexthopObject, nexthopKind } from "./nexthop.ts";
import { type RouteObject, routeKind } from "./route.ts";
import { type SysctlObject, sysctlKind } from "./sysctl.ts";
import { type WireguardDeviceObject, wireguardDeviceKind } from "./wg-device.ts";
import { type WireguardPeerObject, wireguardPeerKind } from "./wg-peer.ts";

export type KernelObject =
  | LinkObject
  | BridgePortObject
  | SysctlObject
  | WireguardDeviceObject
  | WireguardPeerObject
  | AddressObject
  | NeighbourObject
  | FdbObject
  | BridgeFdbObject
  | NexthopObject
  | RouteObject;

export type ObjectKind = KernelObject["kind"];

export const KINDS: { readonly [K in ObjectKind]: Kind<Extract<KernelObject, { kind: K }>> } = {
  link: linkKind,
  "bridge-port": bridgePortKind,
  sysctl: sysctlKind,
  "wg-device": wireguardDeviceKind,
  "wg-peer": wireguardPeerKind,
  address: addressKind,
  neighbour: neighbourKind,
  fdb: fdbKind,
  "bridge-fdb": bridgeFdbKind,
  nexthop: nexthopKind,
  route: routeKind,
};

/** What is known of the object's kind. TypeScript cannot follow that an object fits its own kind's functions. */
export function kindOf(object: KernelObject): Kind<KernelObject> {
  return KINDS[object.kind] as unknown as Kind<KernelObject>;
}

export function keyOf(object: KernelObject): ObjectKey {
  return kindOf(object).keyOf(object);
}

/** The device that the object is on; null for devices themselves, blackholes and global settings. */
export function deviceOf(object: KernelObject): string | null {
  return kindOf(object).deviceOf(object);
}

export function ownerOf(object: KernelObject, scope: Scope): Owner {
  return kindOf(object).ownerOf(object, scope);
}

/** True when a dump must report the object: it is ours, or it can collide with one of ours. */
export function isVisible(object: KernelObject, scope: Scope): boolean {
  return kindOf(object).isVisible(object, scope);
}

/** True when nothing needs to be done. Both have the same key, hence the same kind. */
export function isSame(desired: KernelObject, actual: KernelObject): boolean {
  return desired === actual || kindOf(desired).isSame(desired, actual);
}

/** How `ip`, `bridge` or `sysctl` would name the object. */
export function describe(object: KernelObject): string {
  return kindOf(object).describe(object);
}
