/** Compares what the plan wants with what the kernel has, one key at a time. Pure and total. */

import type { Scope } from "./contract/kind.ts";
import { isSame, type KernelObject, kindOf, ownerOf } from "./kinds/registry.ts";

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
  /** A foreign object holds the key: left alone and shown. */
  | { readonly type: "conflict"; readonly actual: KernelObject; readonly reason: string };

const SAME: Verdict = { type: "same" };

/**
 * What to do about one key.
 *
 * @param isEstablished the key was ours and in order before: an object that holds it now displaced ours and is
 *   replaced. Without that, a foreign object that was there first stays.
 */
export function compare(
  desired: KernelObject | undefined,
  actual: KernelObject | undefined,
  scope: Scope,
  isEstablished: boolean,
): Verdict {
  if (desired === undefined) {
    if (actual === undefined || scope.isPlanOld || !kindOf(actual).isDeletable) return SAME;
    if (ownerOf(actual, scope) === "foreign") return SAME;
    return { type: "change", change: { op: "delete", object: actual } };
  }
  if (actual === undefined) return { type: "change", change: { op: "create", object: desired } };
  if (isSame(desired, actual)) return SAME;
  const kind = kindOf(desired);
  if (scope.isPlanOld && kind.isOfPeers && ownerOf(actual, scope) === "ours") return SAME;
  if (!isEstablished) {
    const reason = kind.obstacle?.(desired, actual, scope) ?? null;
    if (reason !== null) return { type: "conflict", actual, reason };
  }
  const op = kind.needsRecreation?.(desired, actual) ? "recreate" : "replace";
  return { type: "change", change: { op, object: desired, actual } };
}
