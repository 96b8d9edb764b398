/** Network devices: `ip link`. What only one type of device has is in devices/. */

import type { Mac } from "../../../ipam/addresses/mac.ts";
import { ENODEV, NetlinkError } from "../../netlink/errors.ts";
import { encodeNewLink, encodeSetLink, type Link, type LinkChanges } from "../../netlink/link/link.ts";
import type { KernelNames, Kind } from "../contract/kind.ts";
import { type DeviceDetails, deviceTypeOf } from "../devices/registry.ts";

export interface LinkObject {
  readonly kind: "link";
  readonly name: string;
  /** rtnetlink's type: `vxlan`, `bridge`, `veth`, `tun`, …; empty for physical devices. */
  readonly type: string;
  readonly mac: Mac | null;
  readonly mtuBytes: number;
  readonly isUp: boolean;
  /** For types that a plan can want. */
  readonly details?: DeviceDetails;
  /** In a plan: a device of this name with another hardware address is another program's. */
  readonly isProvenByMac?: true;
  /** In a plan: it is created without an IPv6 link-local address, which it otherwise has as soon as it is up. */
  readonly hasNoLinkLocal?: true;
  /** What an administrator set that a device of ours never has, in ip-link(8)'s words: `ttl`. */
  readonly extras?: readonly string[];
}

export const linkKind: Kind<LinkObject> = {
  rank: 0,
  // One request at a time: kernel/device-changes.ts applies them, the port reads them.
  wire: null,
  isDeletable: true,

  keyOf: ({ name }) => linkKey(name),
  deviceOf: () => null,
  isVisible: ({ name }, scope) => scope.devices.has(name),
  ownerOf: ({ name, type }, scope) =>
    scope.devices.has(name) && deviceTypeOf(type) !== null ? "ours" : "foreign",

  isSame: (desired, actual) =>
    !needsRecreation(desired, actual) &&
    actual.mtuBytes === desired.mtuBytes &&
    actual.isUp === desired.isUp &&
    (desired.mac === null || actual.mac === desired.mac) &&
    isSameType(desired, actual),

  needsRecreation,

  obstacle: (desired, actual) => {
    if (actual.type !== desired.type)
      return `a device of this name and of type ${actual.type || "physical"} exists; delete or rename it`;
    if (desired.isProvenByMac && actual.mac !== desired.mac)
      return `a device of this name exists that tulle did not create; delete or rename it`;
    if (desired.details === undefined || actual.details === undefined) return null;
    return deviceTypeOf(desired.type)?.obstacle(desired.details, actual.details) ?? null;
  },

  describe: ({ name, type, mtuBytes, isUp, mac, details, extras }) => {
    const parts = [`link ${name}`, `type ${type || "physical"}`, `mtu ${mtuBytes}`, isUp ? "up" : "down"];
    if (mac !== null) parts.push(`address ${mac}`);
    if (details !== undefined) parts.push(deviceTypeOf(type)?.describe(details) ?? "");
    if (extras !== undefined) parts.push(`with ${extras.join(", ")}`);
    return parts.join(" ");
  },
};

/** The key of the device of this name. */
export function linkKey(name: string): string {
  return `link ${name}`;
}

/** What the kernel has only once and the device occupies; null for most. */
export function exclusiveResource({ type, details }: LinkObject): string | null {
  return details === undefined ? null : (deviceTypeOf(type)?.exclusiveResource(details) ?? null);
}

/** A device as the kernel shows it. */
export function decodeLinkObject(link: Link, names: KernelNames): LinkObject {
  const { name, type, mac, mtuBytes, isUp } = link;
  const deviceType = deviceTypeOf(type);
  const details = deviceType?.decode(link, names) ?? null;
  const extras = deviceType?.extras(link) ?? [];
  return {
    kind: "link",
    name,
    type,
    mac,
    mtuBytes,
    isUp,
    ...(details === null ? {} : { details }),
    ...(extras.length === 0 ? {} : { extras }),
  };
}

/** Creates a device with its hardware address, so that no other program chooses one first. */
export function encodeCreateLink(link: LinkObject, names: KernelNames): Uint8Array {
  const { name, mac, mtuBytes, isUp, details } = link;
  if (details === undefined)
    throw new NetlinkError(`create ${linkKind.describe(link)}: its type is unknown`, ENODEV);
  const info = typeOf(details).encodeNew(details, names);
  return encodeNewLink({ name, mtuBytes, isUp, info, ...(mac === null ? {} : { mac }) });
}

/**
 * Changes what differs and nothing else: the kernel takes even an unchanged hardware address for a new one and drops the
 * device's neighbours (net/core/neighbour.c, neigh_changeaddr). Attributes of the type go first, in a request of their
 * own, because a VXLAN device rejects an MTU beside them (vxlan_nl2conf).
 */
export function encodeUpdateLink(
  desired: LinkObject,
  actual: LinkObject,
  names: KernelNames,
): readonly Uint8Array[] {
  const index = names.indexOf(desired.name);
  if (index === null) throw new NetlinkError(linkKind.describe(desired), ENODEV, { retryable: true });
  const requests: Uint8Array[] = [];
  const { details } = desired;
  if (details !== undefined && !isSameType(desired, actual))
    requests.push(encodeSetLink(index, { info: typeOf(details).encodeChange(details, names) }));
  const changes = differences(desired, actual);
  if (Object.keys(changes).length > 0) requests.push(encodeSetLink(index, changes));
  return requests;
}

function differences(desired: LinkObject, actual: LinkObject): LinkChanges {
  return {
    ...(desired.mtuBytes === actual.mtuBytes ? {} : { mtuBytes: desired.mtuBytes }),
    ...(desired.isUp === actual.isUp ? {} : { isUp: desired.isUp }),
    ...(desired.mac === null || desired.mac === actual.mac ? {} : { mac: desired.mac }),
  };
}

/** Options that a device of ours lacks are so rare that a new device is the simplest repair. */
function needsRecreation(desired: LinkObject, actual: LinkObject): boolean {
  if (desired.type !== actual.type || actual.extras !== undefined) return true;
  if (desired.details === undefined || actual.details === undefined)
    return desired.details !== actual.details;
  return typeOf(desired.details).needsRecreation(desired.details, actual.details);
}

function isSameType(desired: LinkObject, actual: LinkObject): boolean {
  if (desired.details === undefined || actual.details === undefined)
    return desired.details === actual.details;
  return typeOf(desired.details).isSame(desired.details, actual.details);
}

function typeOf(details: DeviceDetails): NonNullable<ReturnType<typeof deviceTypeOf>> {
  const type = deviceTypeOf(details.type);
  if (type === null) throw new TypeError(`device type ${details.type} is not registered`);
  return type;
}
