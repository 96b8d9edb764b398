/**
 * What is known of a kind of kernel object: one file per kind answers all of it, and registry.ts lists the kinds.
 *
 * A kind names its objects, compares two of them, says whose they are, and writes and reads its netlink messages. All of
 * it is pure. The comparison, the order of changes, the tracker, the reconciler and the port know only this contract.
 */

import type { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import type { NetlinkMessage } from "../../netlink/message.ts";

/** Names an object as the kernel does: two objects with one key cannot exist at once. */
export type ObjectKey = string;

/** The rtnetlink protocol number that marks our routes and nexthops (`t`; unused in iproute2's rt_protos). */
export const ROUTE_PROTOCOL = 116;

/** rtnetlink's RTPROT_BOOT, which flanneld's routes carry. */
export const ROUTE_PROTOCOL_BOOT = 3;

/** The part of the kernel's state that one network may read and change. */
export interface Scope {
  /** Devices that belong to this network alone (`flannel.1`, or one of an earlier VNI that must go). */
  readonly devices: ReadonlySet<string>;
  /** Interfaces of the host on which the network may create routes (the tunnel's parent, for direct routes). */
  readonly sharedDevices: ReadonlySet<string>;
  /** Devices on which next hop objects with our protocol number are this network's: they name no destination. */
  readonly nexthopDevices: ReadonlySet<string>;
  /** The cluster's ranges: the present ones, and those whose leftovers may still exist. */
  readonly networks: readonly Prefix[];
  /** Files under /proc/sys that the plan may set. */
  readonly sysctls: ReadonlySet<string>;
  /**
   * True while the plan may be older than the kernel's state, as before the store was listed. What the plan lacks stays,
   * and so does what the kernel has of peers.
   */
  readonly isPlanOld?: boolean;
}

/**
 * `ours`: we created it, or no other program can have. `adopted`: flanneld created it on a host that we take over.
 * `foreign`: visible because it may be in our way; never changed unless it displaced ours.
 */
export type Owner = "ours" | "adopted" | "foreign";

/** What a change does to an object. */
export type Operation = "create" | "replace" | "recreate" | "delete";

/** Where a nexthop object leads. */
export interface NexthopPlace {
  readonly device: string;
  readonly gateway: Address;
  /** The gateway is reachable on the device although no address there covers it (RTNH_F_ONLINK). */
  readonly isOnlink: boolean;
}

/** What the kernel calls by number and the plan by name. */
export interface KernelNames {
  /** Index of a device, null when there is none of this name. */
  indexOf(device: string): number | null;
  /** Name of a device, empty when it is unknown or `index` is null. */
  nameOf(index: number | null): string;
  /** Id of a nexthop object of ours, undefined when there is none. */
  nexthopId(device: string, gateway: Address): number | undefined;
  /** The same, or a free id that is reserved from now on. */
  assignNexthopId(hop: NexthopPlace): number;
  /** Where a nexthop object of ours leads, undefined when there is none with this id. */
  nexthopOf(id: number): NexthopPlace | undefined;
}

/** How a kind travels over rtnetlink; several objects go in one batch. */
export interface Wire<T> {
  /** Message types of its notifications (RTM_NEW…, RTM_DEL…). */
  readonly types: readonly [added: number, removed: number];
  /** The request for a change. Throws NetlinkError (ENODEV, ENOENT) when something that it refers to is missing. */
  encode(op: Operation, object: T, names: KernelNames): Uint8Array;
  /** The object in a message; null for another kind's, and for objects that tulle does not model. Throws CodecError. */
  decode(message: NetlinkMessage, names: KernelNames): T | null;
  /** Dump requests that list every visible object. */
  dumps(scope: Scope, names: KernelNames): readonly Uint8Array[];
}

export interface Kind<T> {
  /** Place in the order of changes: an object depends only on kinds of a lower rank. */
  readonly rank: number;
  /** Null for what rtnetlink batches cannot carry: the port sends it by other means. */
  readonly wire: Wire<T> | null;
  keyOf(object: T): ObjectKey;
  /** The device that the object is on; null for devices themselves and for what is on none. */
  deviceOf(object: T): string | null;
  /** True when a dump must report the object: it is ours, or it can collide with one of ours. */
  isVisible(object: T, scope: Scope): boolean;
  /**
   * A wrong "ours" deletes an administrator's object, a wrong "foreign" leaves garbage behind. Only for visible
   * objects.
   */
  ownerOf(object: T, scope: Scope): Owner;
  /** True when nothing needs to be done. Both have the same key. */
  isSame(desired: T, actual: T): boolean;
  /** One line in iproute2's words. */
  describe(object: T): string;
  /** False for what goes only with its device. */
  readonly isDeletable: boolean;
  /** True for what follows from other hosts' records alone. */
  readonly isOfPeers?: boolean;
  /** True when the kernel cannot change `actual` into `desired` in place. */
  needsRecreation?(desired: T, actual: T): boolean;
  /** Why `actual`, which was there before us, may not be replaced; null when it may. */
  obstacle?(desired: T, actual: T, scope: Scope): string | null;
  /** The request that removes what is in the way of `desired`, also a foreign object; null when nothing is. */
  encodeClear?(actual: T, names: KernelNames): Uint8Array | null;
  /**
   * The request that makes or removes what must be there while the kernel takes `desired`, where it answers EINVAL without;
   * null when nothing would help.
   */
  encodeScaffold?(op: "create" | "delete", desired: T, names: KernelNames): Uint8Array | null;
}

export function inNetworks(scope: Scope, inner: Address | Prefix): boolean {
  return scope.networks.some((network) => network.contains(inner));
}

/** Joined, not a template: V8 keeps a template's pieces, and copies them when the key is looked up. */
export function objectKey(...words: readonly (string | number | Address | Prefix)[]): ObjectKey {
  return words.join(" ");
}

export function isSameAddress(a: Address | null, b: Address | null): boolean {
  return a === null || b === null ? a === b : a.equals(b);
}
