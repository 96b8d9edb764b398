/**
 * Decides what `tulle cleanup` may remove from a host. Pure; the rules, which its help repeats:
 *
 *   device    a tunnel device that state-dir's record knows by its hardware address, or that carries routes with
 *             our protocol number; not one that carries routes as flanneld makes them, for then flanneld has it
 *   route,    with our protocol number, on a device named like ours or to a destination inside a network that
 *   nexthop   subnet.env or state-dir's record names; a next hop on an interface that the record names
 *
 * Everything else stays; objects that resemble ours are named with the reason.
 */

import { isOverlayDevice } from "../../backends/registry.ts";
import { isSegmentDevice } from "../../backends/segments/names.ts";
import { ROUTE_PROTOCOL } from "../../backends/state/contract/kind.ts";
import type { LinkObject } from "../../backends/state/kinds/link.ts";
import type { NexthopObject } from "../../backends/state/kinds/nexthop.ts";
import { describe, deviceOf, type KernelObject, ownerOf } from "../../backends/state/kinds/registry.ts";
import type { RouteObject } from "../../backends/state/kinds/route.ts";
import type { Prefix } from "../../ipam/addresses/ip.ts";
import { derivedMac, type IdentityRecord } from "../host/identity.ts";

export interface HostState {
  /** Null when tulled never ran here with this state-dir. */
  readonly identity: Pick<IdentityRecord, "nodeId" | "deviceMacs"> | null;
  /** The networks that subnet.env and state-dir's record name. */
  readonly networks: readonly Prefix[];
  /** Interfaces of the host on which state-dir's record says that tulled creates routes. */
  readonly interfaces: ReadonlySet<string>;
  /** Every device of a backend's type, what is on it, and every route of the main table. */
  readonly objects: readonly KernelObject[];
  /** Process id of a flanneld in this network namespace. */
  readonly flanneldPid: number | null;
}

export interface CleanupPlan {
  /** Devices first to see, last to delete; what is on them goes with them. */
  readonly links: readonly LinkObject[];
  /** What does not lie on these devices. */
  readonly others: readonly (RouteObject | NexthopObject)[];
  /** Whether tulled ran here, so that the firewall chains which flanneld does not make are ours. */
  readonly hasRun: boolean;
  /** Whether the other firewall rules and subnet.env are ours to remove: flanneld's have the same names. */
  readonly ownsSharedNames: boolean;
  /** One sentence each. */
  readonly leftAlone: readonly string[];
}

export function planCleanup(host: HostState): CleanupPlan {
  const leftAlone: string[] = [];
  const links: LinkObject[] = [];
  for (const link of host.objects.filter((object) => object.kind === "link")) {
    const obstacle = whyNotOurs(link, host);
    if (obstacle === null) links.push(link);
    else if (isOverlayDevice(link.name) || isSegmentDevice(link.name))
      leftAlone.push(`${link.name}: ${obstacle}`);
  }
  const doomed = new Set(links.map(({ name }) => name));
  const marked = host.objects.filter(isMarked).filter((object) => !doomed.has(object.device));
  const others = marked.filter((object) => isOurs(object, host));
  for (const object of marked) {
    if (!others.includes(object)) {
      leftAlone.push(
        `${describe(object)}: outside the networks that the subnet file and state-dir name, so perhaps not ours`,
      );
    }
  }
  const hasRun = host.identity !== null || doomed.size > 0;
  const ownsSharedNames = hasRun && !flanneldIsHere(host);
  const rules = hasRun ? "rules for forwarding and masquerading" : "firewall rules";
  if (!ownsSharedNames) leftAlone.push(`${rules} and the subnet file: ${whyNotShared(host)}`);
  return { links, others, hasRun, ownsSharedNames, leftAlone };
}

/** A line for a person: the device and how much goes with it. */
export function describeDevice(link: LinkObject, objects: readonly KernelObject[]): string {
  const counts = new Map<string, number>();
  for (const object of objects) {
    if (deviceOf(object) === link.name) counts.set(object.kind, (counts.get(object.kind) ?? 0) + 1);
  }
  const content = [...counts].map(([kind, count]) => `${kind} ${count}`).join(", ");
  return content === "" ? describe(link) : `${describe(link)} (and on it: ${content})`;
}

/** Null when the device is ours. */
function whyNotOurs(link: LinkObject, host: HostState): string | null {
  if (isSegmentDevice(link.name)) return whyNotOurSegment(link, host);
  const isRecorded = Object.entries(host.identity?.deviceMacs ?? {}).some(
    ([key, mac]) => mac === link.mac || (link.mac === null && key.split("/").at(-1) === link.name),
  );
  const routes = host.objects.filter((object) => object.kind === "route" && object.device === link.name);
  if (!isRecorded && !routes.some(isMarked)) {
    return "neither in state-dir's record nor with a route of ours, so another program made it";
  }
  if (routes.some((route) => isFlannelds(route, link.name, host))) {
    return "it carries routes of flanneld, which has taken it over";
  }
  return host.flanneldPid === null ? null : `flanneld runs (process ${host.flanneldPid}) and may use it`;
}

/** Devices of named networks: flanneld has nothing to do with them. */
function whyNotOurSegment({ name, mac }: LinkObject, { identity }: HostState): string | null {
  const isOurs = identity !== null && mac === derivedMac(identity.nodeId, name);
  return isOurs
    ? null
    : "its hardware address is not the one that this host's identity gives, so another program made it";
}

function isMarked(object: KernelObject): object is RouteObject | NexthopObject {
  return (object.kind === "route" || object.kind === "nexthop") && object.protocol === ROUTE_PROTOCOL;
}

function isOurs(object: RouteObject | NexthopObject, { networks, interfaces }: HostState): boolean {
  if (isOverlayDevice(object.device)) return true;
  if (object.kind === "nexthop") return interfaces.has(object.device);
  return object.kind === "route" && networks.some((network) => network.contains(object.destination));
}

function isFlannelds(
  object: KernelObject,
  device: string,
  { networks }: Pick<HostState, "networks">,
): boolean {
  const scope = {
    devices: new Set([device]),
    sharedDevices: new Set<string>(),
    nexthopDevices: new Set<string>(),
    networks,
    sysctls: new Set<string>(),
  };
  return ownerOf(object, scope) === "adopted";
}

function flanneldIsHere(host: HostState): boolean {
  const { flanneldPid, objects } = host;
  if (flanneldPid !== null) return true;
  return objects.some(
    (object) =>
      object.kind === "route" && isOverlayDevice(object.device) && isFlannelds(object, object.device, host),
  );
}

function whyNotShared(host: HostState): string {
  if (host.flanneldPid !== null) return `flanneld runs (process ${host.flanneldPid}) and uses the same names`;
  if (flanneldIsHere(host)) return "there are routes of flanneld, which uses the same names";
  return "nothing shows that tulled ever ran here; is --state-dir right?";
}
