/**
 * What is known of a type of device (`ip link … type TYPE`): one file per type answers all of it, and registry.ts lists
 * the types. What all devices share is in kinds/link.ts. Pure.
 */

import type { Link, LinkInfoSpec } from "../../netlink/link/link.ts";
import type { KernelNames } from "./kind.ts";

export interface DeviceType<D extends { readonly type: string }> {
  /** rtnetlink's name (IFLA_INFO_KIND). */
  readonly type: D["type"];
  /** True when nothing needs to be done about the attributes that the kernel lets change. */
  isSame(desired: D, actual: D): boolean;
  /** True when the kernel fixes an attribute that differs at creation. */
  needsRecreation(desired: D, actual: D): boolean;
  /** Why a device of this type that was there before us is not ours; null when it may be. */
  obstacle(desired: D, actual: D): string | null;
  /** What the kernel has only once; null when any number of such devices can exist. */
  exclusiveResource(details: D): string | null;
  /** In ip-link(8)'s words, behind what all devices have. */
  describe(details: D): string;
  /** Attributes for a new device. Throws NetlinkError when something that they refer to is missing. */
  encodeNew(details: D, names: KernelNames): LinkInfoSpec;
  /** Those that an existing device lets change. */
  encodeChange(details: D, names: KernelNames): LinkInfoSpec;
  /** Null for a device of another type. */
  decode(link: Link, names: KernelNames): D | null;
  /** What an administrator set that a device of ours never has, in ip-link(8)'s words: `ttl`. */
  extras(link: Link): readonly string[];
}
