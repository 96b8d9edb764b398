/**
 * In which order changes are applied: what others stand on comes first, and goes last. Pure.
 *
 *   link → sysctl → address → neighbour, FDB → nexthop → route; deletions the other way round.
 *
 * Additions go before deletions, so that replaced things overlap instead of leaving a gap. The exception is a
 * device whose key in the kernel (VNI and port) collides with one that is about to be made.
 */

import type { Change } from "./diff.ts";
import { keyOf, type ObjectKind } from "./objects.ts";

const RANK: Record<ObjectKind, number> = {
  link: 0,
  sysctl: 1,
  address: 2,
  neighbour: 3,
  fdb: 4,
  nexthop: 5,
  route: 6,
};

const KINDS = Object.keys(RANK).length;

/** Something that carries a change. */
interface Carrier {
  readonly change: Change;
}

/** Sorts changes for application; within one rank the given order stays. */
export function inOrder<T extends Carrier>(pending: readonly T[]): T[] {
  const colliding = collidingDeletes(pending);
  const buckets: T[][] = Array.from({ length: 2 * KINDS + 1 }, () => []);
  for (const one of pending) buckets[slotOf(one.change, colliding)]?.push(one);
  return buckets.flat();
}

function slotOf(change: Change, colliding: ReadonlySet<string>): number {
  const rank = RANK[change.object.kind];
  if (change.op !== "delete") return 1 + rank;
  return colliding.has(keyOf(change.object)) ? 0 : 2 * KINDS - rank;
}

/** Keys of devices to delete that use the VNI of a device to create: the kernel allows one per VNI and port. */
function collidingDeletes(pending: readonly Carrier[]): Set<string> {
  const links = pending.flatMap(({ change }) => (change.object.kind === "link" ? [change] : []));
  const created = new Set<number>();
  for (const { op, object } of links) {
    if (op !== "delete" && object.kind === "link" && object.vxlan) created.add(object.vxlan.vni);
  }
  const keys = new Set<string>();
  if (created.size === 0) return keys;
  for (const { op, object } of links) {
    if (op === "delete" && object.kind === "link" && object.vxlan && created.has(object.vxlan.vni)) {
      keys.add(keyOf(object));
    }
  }
  return keys;
}
