/**
 * In which order changes are applied: what others depend on comes first, and goes last. Pure.
 *
 *   link → sysctl → address → neighbour, FDB → nexthop → route; deletions in reverse.
 *
 * Additions go before deletions, so that replaced objects overlap instead of leaving a gap. The exception is a device
 * that occupies what a new one needs.
 */

import type { Change } from "./diff.ts";
import { exclusiveResource } from "./kinds/link.ts";
import { KINDS, keyOf, kindOf } from "./kinds/registry.ts";

const RANKS = Object.keys(KINDS).length;

/** Something that carries a change. */
interface Carrier {
  readonly change: Change;
}

/** Sorts changes for application; within one rank the given order stays. */
export function inOrder<T extends Carrier>(pending: readonly T[]): T[] {
  const colliding = collidingDeletes(pending);
  const buckets: T[][] = Array.from({ length: 2 * RANKS + 1 }, () => []);
  for (const one of pending) buckets[slotOf(one.change, colliding)]?.push(one);
  return buckets.flat();
}

function slotOf(change: Change, colliding: ReadonlySet<string>): number {
  const { rank } = kindOf(change.object);
  if (change.op !== "delete") return 1 + rank;
  return colliding.has(keyOf(change.object)) ? 0 : 2 * RANKS - rank;
}

/** Keys of devices to delete that occupy what a device to create needs. */
function collidingDeletes(pending: readonly Carrier[]): Set<string> {
  const needed = new Set<string>();
  const occupied = new Map<string, string>();
  for (const { change } of pending) {
    const { op, object } = change;
    const resource = object.kind === "link" ? exclusiveResource(object) : null;
    if (resource === null) continue;
    if (op === "delete") occupied.set(keyOf(object), resource);
    else needed.add(resource);
  }
  return new Set([...occupied].flatMap(([key, resource]) => (needed.has(resource) ? [key] : [])));
}
