/**
 * The index that makes a change cost a change: desired and actual state by key, and the keys that may differ.
 *
 *          desired                actual
 *      ┌─────────────┐        ┌─────────────┐
 *      │  to create  │  same  │  to delete  │      `dirty` holds every entry outside "same" and perhaps some
 *      └─────────────┴────────┴─────────────┘      inside it: compare() decides when pending() asks.
 *
 * No I/O and no time. The whole-state view stays level-triggered: replaceActual takes a complete dump, and plans add up
 * to a complete one; only the work is proportional to what changed, because an unchanged group of the plan is the same
 * array as before.
 */

import type { ObjectKey, Scope } from "./contract/kind.ts";
import { type Change, compare } from "./diff.ts";
import { linkKey } from "./kinds/link.ts";
import { deviceOf, isSame, type KernelObject, keyOf, type ObjectKind } from "./kinds/registry.ts";

/** The plan: what each contributor (`base`, or one peer's lease key) wants, complete. */
export type DesiredState = ReadonlyMap<string, readonly KernelObject[]>;

/**
 * The new desired state. Immutable. `whole`: these groups and no others. `delta`: these
 * groups, besides those of the plan before; an empty group has left.
 */
export interface Plan {
  readonly type: "whole" | "delta";
  readonly groups: DesiredState;
}

/** What made a key dirty: a new plan, or an event or dump of the kernel (then a change repairs drift). */
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

/** All that a device has of these kinds. */
export interface Listed {
  readonly device: string;
  readonly kinds: readonly ObjectKind[];
  readonly objects: readonly KernelObject[];
}

/** All that is known of one key. One object per key instead of a map per question: a network has many keys. */
interface Entry {
  readonly key: ObjectKey;
  desired: KernelObject | undefined;
  actual: KernelObject | undefined;
  /** The key was ours and in order at some time since it is desired. */
  isEstablished: boolean;
  /** Who made it dirty; null when desired and actual agree. */
  dirty: Cause | null;
  /** What of ours is on its way to the kernel under this key; null when nothing is. */
  inFlight: Change | null;
}

export class StateTracker {
  #scope: Scope;
  readonly #groups = new Map<string, readonly KernelObject[]>();
  readonly #entries = new Map<ObjectKey, Entry>();
  readonly #dirty = new Set<Entry>();
  /** What else is wanted under keys that several contributors name, oldest first. */
  readonly #rivals = new Map<ObjectKey, KernelObject[]>();
  readonly #conflicts = new Map<ObjectKey, Conflict>();
  #desiredCount = 0;
  #hasContest = false;

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  get scope(): Scope {
    return this.#scope;
  }

  /** How many objects the plan wants. */
  get desiredCount(): number {
    return this.#desiredCount;
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
    for (const entry of this.#entries.values()) if (entry.actual !== undefined) this.#mark(entry, "plan");
  }

  /** Takes a plan. A group that is the same array as before costs one comparison, or nothing. */
  setDesired({ type, groups }: Plan): void {
    if (type === "whole")
      for (const name of this.#groups.keys()) if (!groups.has(name)) this.#replaceGroup(name, undefined);
    for (const [name, objects] of groups)
      this.#replaceGroup(name, objects.length === 0 ? undefined : objects);
  }

  /** Takes a complete dump of the scope. Of two objects with one key the first counts: the kernel asks it first. */
  replaceActual(objects: Iterable<KernelObject>): void {
    this.#replace(objects, () => true);
  }

  /** Takes all that a device has of some kinds. */
  replaceListed({ device, kinds, objects }: Listed): void {
    this.#replace(objects, ({ desired, actual }) => {
      const object = actual ?? desired;
      return object !== undefined && kinds.includes(object.kind) && deviceOf(object) === device;
    });
  }

  /** `isCovered` tells the entries that are absent when `objects` does not have them. */
  #replace(objects: Iterable<KernelObject>, isCovered: (entry: Entry) => boolean): void {
    const seen = new Set<Entry>();
    for (const object of objects) {
      const entry = this.#entryOf(keyOf(object));
      if (seen.has(entry)) continue;
      seen.add(entry);
      this.#observe(entry, object);
    }
    for (const entry of this.#entries.values()) {
      if (seen.has(entry) || !isCovered(entry)) continue;
      this.#forget(entry);
      if (entry.desired !== undefined) this.#mark(entry, "kernel");
    }
  }

  /** The kernel has this object now. */
  observe(object: KernelObject): void {
    this.#observe(this.#entryOf(keyOf(object)), object);
  }

  /** The kernel no longer has this key. */
  forget(key: ObjectKey): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) this.#forget(entry);
  }

  /** The device is gone, and with it everything on it. */
  forgetDevice(device: string): void {
    for (const entry of this.#entries.values()) {
      if (entry.actual !== undefined && deviceOf(entry.actual) === device) this.#forget(entry);
    }
    this.forget(linkKey(device));
  }

  /**
   * What must be done now, unordered. Settled keys are dropped from the dirty set on the way; those on a device
   * whose name a foreign device has stay in it.
   */
  pending(): PendingChange[] {
    const isBlocked = this.#deviceCheck();
    const changes: PendingChange[] = [];
    for (const entry of this.#dirty) {
      const { key, desired, actual, isEstablished } = entry;
      const verdict = compare(desired, actual, this.#scope, isEstablished);
      if (this.#conflicts.size > 0) this.#conflicts.delete(key);
      if (verdict.type === "change") {
        if (isBlocked(verdict.change.object)) continue;
        // Only a change to an object that was in order counts as drift.
        const cause = desired === undefined || isEstablished ? (entry.dirty ?? "plan") : "plan";
        changes.push({ key, change: verdict.change, cause });
        continue;
      }
      this.#clean(entry);
      if (verdict.type === "conflict") this.#conflicts.set(key, { key, reason: verdict.reason });
      else if (desired !== undefined) entry.isEstablished = true;
    }
    return changes;
  }

  /** These are on their way to the kernel: what it says of their keys from now on may be older or newer. */
  begin(pending: readonly PendingChange[]): void {
    for (const { key, change } of pending) this.#entryOf(key).inFlight = change;
  }

  /** The kernel rejected it, or it was not sent. */
  fail({ key }: PendingChange): void {
    const entry = this.#entries.get(key);
    if (entry !== undefined) entry.inFlight = null;
  }

  /** The kernel did it: observed so until an event or a dump says otherwise. */
  confirm({ key, change }: PendingChange): void {
    const entry = this.#entryOf(key);
    entry.inFlight = null;
    if (change.op === "delete") entry.actual = undefined;
    else {
      entry.actual = change.object;
      entry.isEstablished = true;
    }
    this.#clean(entry);
    // The plan may have moved on while the change was applied.
    if (entry.desired !== entry.actual) this.#mark(entry, "plan");
  }

  /**
   * True when, since the last call, something happened to a key while a change of ours was on its way: only a dump
   * tells which came last.
   */
  takeContest(): boolean {
    const hasContest = this.#hasContest;
    this.#hasContest = false;
    return hasContest;
  }

  /** The last object that the plan wanted under this key, if it still does. */
  desired(key: ObjectKey): KernelObject | undefined {
    return this.#entries.get(key)?.desired;
  }

  /** What the kernel was last observed to hold. */
  actual(key: ObjectKey): KernelObject | undefined {
    return this.#entries.get(key)?.actual;
  }

  #replaceGroup(name: string, objects: readonly KernelObject[] | undefined): void {
    const before = this.#groups.get(name);
    if (before === objects) return;
    // The new ones first, so that a key that stays is never unwanted in between.
    if (objects === undefined) this.#groups.delete(name);
    else {
      this.#groups.set(name, objects);
      for (const object of objects) this.#want(object);
    }
    if (before !== undefined) for (const object of before) this.#unwant(object);
  }

  /** Where two contributors want one key, the later one wins and the other one gets it when the winner leaves. */
  #want(object: KernelObject): void {
    const entry = this.#entryOf(keyOf(object));
    if (entry.desired === undefined) this.#desiredCount++;
    else this.#rivals.set(entry.key, [...(this.#rivals.get(entry.key) ?? []), entry.desired]);
    entry.desired = object;
    this.#mark(entry, "plan");
  }

  #unwant(object: KernelObject): void {
    const entry = this.#entries.get(keyOf(object));
    if (entry === undefined) return;
    const rivals = this.#rivals.get(entry.key);
    if (entry.desired !== object) {
      const index = rivals?.indexOf(object) ?? -1;
      if (index >= 0) rivals?.splice(index, 1);
    } else {
      entry.desired = rivals?.pop();
      if (entry.desired === undefined) {
        entry.isEstablished = false;
        this.#desiredCount--;
      }
      this.#mark(entry, "plan");
    }
    if (rivals?.length === 0) this.#rivals.delete(entry.key);
  }

  #observe(entry: Entry, object: KernelObject): void {
    const { desired, inFlight } = entry;
    if (inFlight !== null && (inFlight.op === "delete" || !isSame(inFlight.object, object))) {
      this.#hasContest = true;
    }
    if (desired !== undefined && isSame(desired, object)) {
      // Sharing the plan's object halves the memory and makes the next comparison one of references.
      entry.actual = desired;
      if (entry.dirty === null) entry.isEstablished = true;
      return;
    }
    entry.actual = object;
    this.#mark(entry, "kernel");
  }

  #forget(entry: Entry): void {
    if (entry.inFlight !== null && entry.inFlight.op !== "delete") this.#hasContest = true;
    if (entry.actual === undefined) return;
    entry.actual = undefined;
    this.#mark(entry, "kernel");
  }

  #entryOf(key: ObjectKey): Entry {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = {
        key,
        desired: undefined,
        actual: undefined,
        isEstablished: false,
        dirty: null,
        inFlight: null,
      };
      this.#entries.set(key, entry);
    }
    return entry;
  }

  /** A key that the plan made dirty stays the plan's until it is settled. */
  #mark(entry: Entry, cause: Cause): void {
    if (entry.dirty !== null) return;
    entry.dirty = cause;
    this.#dirty.add(entry);
  }

  #clean(entry: Entry): void {
    entry.dirty = null;
    this.#dirty.delete(entry);
    if (entry.desired === undefined && entry.actual === undefined) this.#entries.delete(entry.key);
  }

  /** Whether an object is on a foreign device that has the name of ours: nothing there is touched. */
  #deviceCheck(): (object: KernelObject) => boolean {
    const known = new Map<string, boolean>();
    return (object) => {
      const device = deviceOf(object);
      if (device === null) return false;
      let isBlocked = known.get(device);
      if (isBlocked === undefined) {
        const link = this.#entries.get(linkKey(device));
        isBlocked =
          link !== undefined &&
          compare(link.desired, link.actual, this.#scope, link.isEstablished).type === "conflict";
        known.set(device, isBlocked);
      }
      return isBlocked;
    };
  }
}
