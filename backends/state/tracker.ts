/**
 * The index that makes a change cost a change: desired and actual state by key, and the keys that may differ.
 *
 *          desired                actual
 *      ┌─────────────┐        ┌─────────────┐
 *      │  to create  │  same  │  to delete  │      `dirty` holds every key outside "same" and perhaps some
 *      └─────────────┴────────┴─────────────┘      inside it: compare() decides when pending() asks.
 *
 * No I/O and no time. The whole-state view stays level-triggered: setDesired takes the complete plan and
 * replaceActual a complete dump; only the work is proportional to what changed, because an unchanged group
 * of the plan is the same array as before.
 */

import { type Change, compare, isSame } from "./diff.ts";
import { deviceOf, type KernelObject, keyOf, type ObjectKey } from "./objects.ts";
import type { Scope } from "./ownership.ts";

/** The plan: what each contributor (`base`, or one peer's lease key) wants, complete. */
export type DesiredState = ReadonlyMap<string, readonly KernelObject[]>;

/** Who made a key dirty: a new plan, or the kernel by itself (then a change repairs drift). */
export type Cause = "plan" | "kernel";

export interface PendingChange {
  readonly key: ObjectKey;
  readonly change: Change;
  readonly cause: Cause;
}

export interface Conflict {
  readonly key: ObjectKey;
  readonly reason: string;
}

export class StateTracker {
  #scope: Scope;
  #groups: DesiredState = new Map();
  #hasCollision = false;
  readonly #desired = new Map<ObjectKey, KernelObject>();
  readonly #actual = new Map<ObjectKey, KernelObject>();
  readonly #dirty = new Map<ObjectKey, Cause>();
  /** Keys that were ours and in order at some time since they are desired. */
  readonly #established = new Set<ObjectKey>();
  readonly #conflicts = new Map<ObjectKey, Conflict>();

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  get scope(): Scope {
    return this.#scope;
  }

  /** How many objects the plan wants. */
  get desiredCount(): number {
    return this.#desired.size;
  }

  /** Keys that are held by something that is not ours. */
  get conflicts(): ReadonlyMap<ObjectKey, Conflict> {
    return this.#conflicts;
  }

  /** True when nothing is known to differ. */
  get isSettled(): boolean {
    return this.#dirty.size === 0;
  }

  /** The scope changed: what was foreign may be ours now, so every key is looked at again. */
  setScope(scope: Scope): void {
    this.#scope = scope;
    for (const key of this.#actual.keys()) this.#mark(key, "plan");
  }

  /** Takes a complete plan. Groups that are the same array as before cost one comparison. */
  setDesired(groups: DesiredState): void {
    if (this.#hasCollision) this.#removeGroups(this.#groups, new Map());
    else this.#removeGroups(this.#groups, groups);
    const before: DesiredState = this.#hasCollision ? new Map() : this.#groups;
    this.#hasCollision = false;
    for (const [name, objects] of groups) {
      if (before.get(name) !== objects) for (const object of objects) this.#want(object);
    }
    this.#groups = groups;
  }

  /** Takes a complete dump of the scope. */
  replaceActual(objects: Iterable<KernelObject>): void {
    const seen = new Set<ObjectKey>();
    for (const object of objects) {
      const key = keyOf(object);
      seen.add(key);
      this.#observeAt(key, object);
    }
    for (const key of this.#actual.keys()) if (!seen.has(key)) this.#forgetAt(key);
    for (const key of this.#desired.keys()) if (!this.#actual.has(key)) this.#mark(key, "kernel");
  }

  /** The kernel has this object now. */
  observe(object: KernelObject): void {
    this.#observeAt(keyOf(object), object);
  }

  /** The kernel no longer has this key. */
  forget(key: ObjectKey): void {
    this.#forgetAt(key);
  }

  /** The device is gone, and with it everything on it. */
  forgetDevice(device: string): void {
    for (const [key, object] of this.#actual) {
      if (deviceOf(object) === device) this.#forgetAt(key);
    }
    this.#forgetAt(`link ${device}`);
  }

  /** What must be done now, unordered. Settled keys are dropped from the dirty set on the way. */
  pending(): PendingChange[] {
    const changes: PendingChange[] = [];
    for (const [key, cause] of this.#dirty) {
      const desired = this.#desired.get(key);
      const verdict = compare(desired, this.#actual.get(key), this.#scope, this.#established.has(key));
      this.#conflicts.delete(key);
      if (verdict.type === "change") {
        changes.push({ key, change: verdict.change, cause: this.#established.has(key) ? cause : "plan" });
        continue;
      }
      this.#dirty.delete(key);
      if (verdict.type === "conflict") this.#conflicts.set(key, { key, reason: verdict.reason });
      else if (desired !== undefined) this.#established.add(key);
    }
    return changes;
  }

  /** The kernel did it: believed until an event or a dump says otherwise. */
  confirm({ key, change }: PendingChange): void {
    this.#dirty.delete(key);
    if (change.op === "delete") this.#actual.delete(key);
    else {
      this.#actual.set(key, change.object);
      this.#established.add(key);
    }
    // The plan may have moved on while the change was applied.
    if (this.#desired.get(key) !== this.#actual.get(key)) this.#mark(key, "plan");
  }

  /** The last object that the plan wanted under this key, if it still does. */
  desired(key: ObjectKey): KernelObject | undefined {
    return this.#desired.get(key);
  }

  /** What the kernel is believed to hold. */
  actual(key: ObjectKey): KernelObject | undefined {
    return this.#actual.get(key);
  }

  #removeGroups(before: DesiredState, after: DesiredState): void {
    for (const [name, objects] of before) {
      if (after.get(name) !== objects) for (const object of objects) this.#unwant(object);
    }
  }

  #want(object: KernelObject): void {
    const key = keyOf(object);
    // Two contributors want one key: the later one wins, and the plan is taken anew next time, so that the
    // other one gets it when the winner leaves.
    if (this.#desired.has(key)) this.#hasCollision = true;
    this.#desired.set(key, object);
    this.#mark(key, "plan");
  }

  #unwant(object: KernelObject): void {
    const key = keyOf(object);
    if (!this.#desired.delete(key)) return;
    this.#established.delete(key);
    this.#mark(key, "plan");
  }

  #observeAt(key: ObjectKey, object: KernelObject): void {
    const desired = this.#desired.get(key);
    if (desired !== undefined && isSame(desired, object)) {
      // Sharing the plan's object halves the memory and makes the next comparison one of references.
      this.#actual.set(key, desired);
      if (this.#dirty.has(key)) this.#mark(key, "kernel");
      else this.#established.add(key);
      return;
    }
    this.#actual.set(key, object);
    this.#mark(key, "kernel");
  }

  #forgetAt(key: ObjectKey): void {
    if (this.#actual.delete(key)) this.#mark(key, "kernel");
  }

  /** A key that the plan made dirty stays the plan's until it is settled. */
  #mark(key: ObjectKey, cause: Cause): void {
    if (!this.#dirty.has(key)) this.#dirty.set(key, cause);
  }
}
