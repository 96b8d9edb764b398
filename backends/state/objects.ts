/**
 * The kernel's network objects as tulle sees them: what a plan wants and what a dump shows, in one vocabulary.
 *
 * Devices go by name, never by index, so that a plan can be made before its device exists and survives the
 * device's re-creation. Pure types and keys: no I/O.
 */

import type { Address, InterfaceAddress, Prefix } from "../../ipam/addresses/ip.ts";
import type { Mac } from "../../ipam/addresses/mac.ts";

/** Attributes of a VXLAN device (linux/if_link.h IFLA_VXLAN_*). */
export interface VxlanAttributes {
  /** 1 .. 2^24 - 1. */
  readonly vni: number;
  /** Source address of tunnel packets; null, never in a plan, where somebody left the choice to the kernel. */
  readonly local: Address | null;
  /** Name of the interface that carries the tunnel. */
  readonly parent: string;
  /** UDP destination port. */
  readonly port: number;
  readonly learning: boolean;
  /** Group-based policy extension. */
  readonly gbp: boolean;
}

export interface LinkObject {
  readonly kind: "link";
  readonly name: string;
  /** rtnetlink's kind: `vxlan`, `bridge`, `veth`, `tun`, …; empty for physical devices. */
  readonly type: string;
  readonly mac: Mac | null;
  readonly mtuBytes: number;
  readonly isUp: boolean;
  /** Present for type `vxlan`. */
  readonly vxlan?: VxlanAttributes;
  /** What somebody set that a tunnel of ours never has, in ip-link(8)'s words: `ttl`, `master`. */
  readonly extras?: readonly string[];
}

export interface AddressObject {
  readonly kind: "address";
  readonly device: string;
  readonly address: InterfaceAddress;
}

export interface RouteObject {
  readonly kind: "route";
  readonly destination: Prefix;
  /** Drops packets instead of sending them (RTN_BLACKHOLE): a route without device and gateway. */
  readonly isBlackhole?: true;
  /** Empty for a blackhole. */
  readonly device: string;
  readonly gateway: Address | null;
  /** The gateway is reachable on the device although no address there covers it (RTNH_F_ONLINK). */
  readonly isOnlink: boolean;
  /** rtnetlink protocol: who made the route. Ours is ROUTE_PROTOCOL. */
  readonly protocol: number;
  /** 0 means the kernel's default: 0 for IPv4, 1024 for IPv6. */
  readonly metric: number;
  /** True when the route refers to a nexthop object instead of an inline gateway. */
  readonly viaNexthop: boolean;
  /** Preferred source address, null when unset. */
  readonly source: Address | null;
  /** It has what no plan sets: an MTU or other metrics, several paths, an encapsulation. */
  readonly hasExtras?: true;
}

/** A nexthop object (linux/nexthop.h). Its id is the port's affair: desired state names the gateway. */
export interface NexthopObject {
  readonly kind: "nexthop";
  readonly device: string;
  readonly gateway: Address;
  readonly isOnlink: boolean;
  readonly protocol: number;
}

export interface NeighbourObject {
  readonly kind: "neighbour";
  readonly device: string;
  readonly address: Address;
  /** Null while the kernel has an entry that is unresolved; never in a plan. */
  readonly mac: Mac | null;
  /** True for NUD_PERMANENT; an entry in any other state is not ours to rely on. */
  readonly isPermanent: boolean;
}

/** A unicast forwarding entry of a VXLAN device: frames for `mac` go to `remote`. */
export interface FdbObject {
  readonly kind: "fdb";
  readonly device: string;
  readonly mac: Mac;
  readonly remote: Address;
  readonly isPermanent: boolean;
  /** It uses another port, VNI or interface than its device. */
  readonly isDetour?: true;
}

/** A file under /proc/sys, for example `net/ipv6/conf/flannel.1/accept_ra`. */
export interface SysctlObject {
  readonly kind: "sysctl";
  readonly path: string;
  /** Device that the setting belongs to: it goes and comes with the device. Null for global ones. */
  readonly device: string | null;
  readonly value: string;
}

export type KernelObject =
  | LinkObject
  | AddressObject
  | RouteObject
  | NexthopObject
  | NeighbourObject
  | FdbObject
  | SysctlObject;

export type ObjectKind = KernelObject["kind"];

/** The rtnetlink protocol number that marks our routes and nexthops (`t`; unused in iproute2's rt_protos). */
export const ROUTE_PROTOCOL = 116;

/** rtnetlink's RTPROT_BOOT, which flanneld's routes carry. */
export const ROUTE_PROTOCOL_BOOT = 3;

/** Names an object the way the kernel does: two objects with one key cannot exist at once. */
export type ObjectKey = string;

export function keyOf(object: KernelObject): ObjectKey {
  switch (object.kind) {
    case "link":
      return `link ${object.name}`;
    case "address":
      return key("address", object.device, `${object.address.address}/${object.address.length}`);
    case "route":
      return key("route", object.destination, object.metric);
    case "nexthop":
      return key("nexthop", object.device, object.gateway);
    case "neighbour":
      return key("neighbour", object.device, object.address);
    case "fdb":
      return key("fdb", object.device, object.mac);
    case "sysctl":
      return `sysctl ${object.path}`;
  }
}

/** Joined, not a template: V8 keeps a template's pieces, and copies them when the key is looked up. */
function key(...words: readonly (string | number | Address | Prefix)[]): ObjectKey {
  return words.join(" ");
}

/** The device an object lives on; null for links themselves, blackholes and global sysctls. */
export function deviceOf(object: KernelObject): string | null {
  if (object.kind === "route" && object.isBlackhole) return null;
  return object.kind === "link" ? null : object.device;
}
