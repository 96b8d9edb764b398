/**
 * Compares what the plan wants with what the kernel has, one key at a time. Pure and total.
 */

import type { Address } from "../../ipam/addresses/ip.ts";
import {
  type KernelObject,
  type LinkObject,
  ROUTE_PROTOCOL_BOOT,
  type RouteObject,
  type VxlanAttributes,
} from "./objects.ts";
import { ownerOf, type Scope } from "./ownership.ts";

/** One step towards the desired state. */
export type Change =
  | { readonly op: "create"; readonly object: KernelObject }
  /** Change the object with this key in place; traffic through it does not stop. */
  | { readonly op: "replace"; readonly object: KernelObject; readonly actual: KernelObject }
  /** Delete and create again, because the kernel cannot change it in place. */
  | { readonly op: "recreate"; readonly object: KernelObject; readonly actual: KernelObject }
  | { readonly op: "delete"; readonly object: KernelObject };

export type Verdict =
  | { readonly type: "same" }
  | { readonly type: "change"; readonly change: Change }
  /** Something that is not ours holds the key: left alone and shown. */
  | { readonly type: "conflict"; readonly actual: KernelObject; readonly reason: string };

const SAME: Verdict = { type: "same" };

/**
 * What to do about one key.
 *
 * @param isEstablished the key was ours and in order before: whoever holds it now displaced us, so it is
 *   taken back. Without that, a foreign object that was there first stays.
 */
export function compare(
  desired: KernelObject | undefined,
  actual: KernelObject | undefined,
  scope: Scope,
  isEstablished: boolean,
): Verdict {
  if (desired === undefined) {
    if (actual === undefined || actual.kind === "sysctl" || ownerOf(actual, scope) === "foreign") return SAME;
    return { type: "change", change: { op: "delete", object: actual } };
  }
  if (actual === undefined) return { type: "change", change: { op: "create", object: desired } };
  if (isSame(desired, actual)) return SAME;
  if (!isEstablished) {
    const reason = obstacle(desired, actual, scope);
    if (reason !== null) return { type: "conflict", actual, reason };
  }
  const op = needsRecreation(desired, actual) ? "recreate" : "replace";
  return { type: "change", change: { op, object: desired, actual } };
}

/** Why `actual`, which was there before us, may not be replaced by `desired`; null when it may. */
function obstacle(desired: KernelObject, actual: KernelObject, scope: Scope): string | null {
  if (actual.kind === "route" && ownerOf(actual, scope) === "foreign") {
    if (desired.kind === "route" && isFlanneldDirect(desired, actual)) return null;
    return `a route of somebody else (protocol ${actual.protocol}, dev ${actual.device}) holds this destination; delete it if the overlay should have it`;
  }
  if (actual.kind === "link" && desired.kind === "link") {
    if (actual.type !== desired.type) {
      return `a device of this name and of type ${actual.type || "physical"} exists; delete or rename it`;
    }
    if (actual.vxlan?.vni !== desired.vxlan?.vni) {
      return `a device of this name with VNI ${actual.vxlan?.vni} exists where the network wants ${desired.vxlan?.vni}; delete or rename it`;
    }
  }
  return null;
}

/** flanneld's direct route to a peer, exactly where ours must go: taking a host over means taking it over too. */
function isFlanneldDirect(desired: RouteObject, actual: RouteObject): boolean {
  return (
    actual.protocol === ROUTE_PROTOCOL_BOOT && isSameRoute({ ...desired, protocol: actual.protocol }, actual)
  );
}

/** True when nothing needs to be done. Both have the same key. */
export function isSame(desired: KernelObject, actual: KernelObject): boolean {
  if (desired === actual) return true;
  switch (desired.kind) {
    case "link":
      return actual.kind === "link" && isSameLink(desired, actual);
    case "address":
      return true; // the key says it all
    case "route":
      return actual.kind === "route" && isSameRoute(desired, actual);
    case "nexthop":
      return (
        actual.kind === "nexthop" &&
        actual.isOnlink === desired.isOnlink &&
        actual.protocol === desired.protocol
      );
    case "neighbour":
      return (
        actual.kind === "neighbour" &&
        actual.mac === desired.mac &&
        actual.isPermanent === desired.isPermanent
      );
    case "fdb":
      return (
        actual.kind === "fdb" &&
        actual.remote.equals(desired.remote) &&
        actual.isPermanent === desired.isPermanent &&
        actual.isDetour === desired.isDetour
      );
    case "sysctl":
      return actual.kind === "sysctl" && actual.value === desired.value;
  }
}

function isSameLink(desired: LinkObject, actual: LinkObject): boolean {
  return (
    !needsRecreation(desired, actual) &&
    actual.mtuBytes === desired.mtuBytes &&
    actual.isUp === desired.isUp &&
    (desired.mac === null || actual.mac === desired.mac) &&
    isSameTunnel(desired.vxlan, actual.vxlan)
  );
}

function isSameRoute(desired: RouteObject, actual: RouteObject): boolean {
  return (
    actual.isBlackhole === desired.isBlackhole &&
    actual.hasExtras === desired.hasExtras &&
    actual.device === desired.device &&
    isSameAddress(actual.gateway, desired.gateway) &&
    actual.isOnlink === desired.isOnlink &&
    actual.protocol === desired.protocol &&
    actual.viaNexthop === desired.viaNexthop &&
    isSameAddress(actual.source, desired.source)
  );
}

function isSameAddress(a: Address | null, b: Address | null): boolean {
  return a === null || b === null ? a === b : a.equals(b);
}

/**
 * The attributes that the kernel fixes when a VXLAN device is made (drivers/net/vxlan vxlan_changelink), and those
 * that are so seldom wrong that a new device is the simplest cure.
 */
function needsRecreation(desired: KernelObject, actual: KernelObject): boolean {
  if (desired.kind !== "link" || actual.kind !== "link") return false;
  if (desired.type !== actual.type || actual.extras !== undefined) return true;
  const want = desired.vxlan;
  const have = actual.vxlan;
  if (want === undefined || have === undefined) return want !== have;
  return (
    want.vni !== have.vni ||
    want.port !== have.port ||
    want.gbp !== have.gbp ||
    want.local?.family !== (have.local ?? want.local)?.family
  );
}

/** Whether the attributes agree that an existing VXLAN device lets change. */
export function isSameTunnel(want: VxlanAttributes | undefined, have: VxlanAttributes | undefined): boolean {
  if (want === undefined || have === undefined) return want === have;
  return (
    want.learning === have.learning && want.parent === have.parent && isSameAddress(want.local, have.local)
  );
}
