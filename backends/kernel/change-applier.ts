/**
 * Applies the changes that are due to the kernel, devices first, and records what came of them: failures, repairs and
 * contention.
 *
 * Objects wait with their device: one that could not be created is one failure instead of thousands.
 */

import type { Clock } from "../../ipam/clock.ts";
import type { Logger } from "../../ipam/log.ts";
import { describe, deviceOf, type ObjectKind } from "../state/kinds/registry.ts";
import { inOrder } from "../state/order.ts";
import type { PendingChange, StateTracker } from "../state/tracker.ts";
import { Contention } from "./contention.ts";
import { Failures, type Refusal } from "./failures.ts";
import type { KernelPort } from "./port.ts";

export interface ChangeApplierOptions {
  readonly port: Pick<KernelPort, "apply" | "programOf">;
  readonly tracker: StateTracker;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Tells the tracker what the kernel holds by now. Rejects when the kernel cannot be read. */
  readonly observe: () => Promise<void>;
}

export type Counts = Readonly<Partial<Record<ObjectKind, number>>>;

/** What came of changes that were due. */
export interface Applied {
  /** Changes that the kernel accepted, by kind of object. */
  readonly applied: Counts;
  /** Of these, objects that another program or the kernel had removed or changed. */
  readonly repaired: Counts;
  /** Changes that it rejected; those that depend on a device that failed are not sent. */
  readonly failed: number;
}

interface Due {
  readonly due: readonly PendingChange[];
  /** Milliseconds until the first of the changes that must wait; Infinity when none has to. */
  readonly waitMs: number;
}

/** Of more repairs than these at a time only the number is logged. */
const REPAIRS_LOGGED = 20;

export class ChangeApplier {
  readonly #options: ChangeApplierOptions;
  readonly #repaired: Partial<Record<ObjectKind, number>> = {};
  readonly failures: Failures;
  readonly contention: Contention;

  constructor(options: ChangeApplierOptions) {
    const { port, logger } = options;
    this.#options = options;
    this.failures = new Failures(logger);
    this.contention = new Contention((by) => port.programOf(by));
  }

  /** Repairs since the start, by kind of object. */
  get repaired(): Counts {
    return { ...this.#repaired };
  }

  /** The changes that may be made now, and the time until the first of those that must wait. */
  due(pending = this.#options.tracker.pending()): Due {
    const nowMs = this.#options.clock.monotonicMs();
    let waitMs = Number.POSITIVE_INFINITY;
    const isLate = ({ key, cause }: PendingChange): boolean => {
      const conflictMs = cause === "kernel" ? this.contention.notBeforeMs(key) : Number.NEGATIVE_INFINITY;
      const delayMs = Math.max(conflictMs, this.failures.notBeforeMs(key)) - nowMs;
      if (delayMs > 0) waitMs = Math.min(waitMs, delayMs);
      return delayMs > 0;
    };
    this.failures.retain(pending);
    if (this.failures.isEmpty && this.contention.isQuiet) return { due: pending, waitMs };
    const late = new Set(pending.filter(isLate));
    if (late.size === 0) return { due: pending, waitMs };
    const lateDevices = new Set([...late].flatMap(linkName));
    const due = pending.filter(
      (one) => !late.has(one) && !lateDevices.has(deviceOf(one.change.object) ?? ""),
    );
    return { due, waitMs };
  }

  /**
   * Makes the changes. Rejects when the kernel cannot be read; what it rejects is counted.
   *
   * @param isRepeated whether the pass before failed too
   */
  async apply(due: readonly PendingChange[], isRepeated: boolean): Promise<Applied> {
    const { port, tracker } = this.#options;
    const applied: Partial<Record<ObjectKind, number>> = {};
    const refusals: Refusal[] = [];
    const repairs: PendingChange[] = [];
    const send = async (pending: readonly PendingChange[]): Promise<void> => {
      if (pending.length === 0) return;
      tracker.begin(pending);
      const results = await port.apply(pending.map((one) => one.change));
      for (const [index, one] of pending.entries()) {
        const error = results[index] ?? null;
        if (error !== null) {
          tracker.fail(one);
          refusals.push({ pending: one, error });
          continue;
        }
        tracker.confirm(one);
        count(applied, one.change.object.kind);
        if (one.cause === "kernel") repairs.push(one);
      }
    };
    const ordered = inOrder(due);
    const firstDependent = ordered.findIndex(({ change }) => change.object.kind !== "link");
    const devices = ordered.slice(0, firstDependent < 0 ? ordered.length : firstDependent);
    await send(devices);
    const failedDevices = new Set(refusals.flatMap(({ pending }) => linkName(pending)));
    const others =
      devices.length === 0 ? ordered : await this.#dependentsOf(devices, ordered.slice(devices.length));
    await send(others.filter((one) => !failedDevices.has(deviceOf(one.change.object) ?? "")));
    this.failures.note([...devices, ...others], refusals, isRepeated);
    const repaired = this.#noteRepairs(repairs, new Set(devices.flatMap(linkName)));
    return { applied, repaired, failed: refusals.length };
  }

  /**
   * What is due after these changes of devices. Changing a device makes the kernel remove objects on it: its neighbours
   * with another hardware address, its routes when it goes down. They are restored in the same pass, and as our own
   * doing: no other program is blamed, and no repair is delayed.
   */
  async #dependentsOf(
    devices: readonly PendingChange[],
    others: readonly PendingChange[],
  ): Promise<readonly PendingChange[]> {
    const { tracker, observe } = this.#options;
    const isNew = ({ change: { op } }: PendingChange): boolean => op === "create" || op === "delete";
    if (devices.every(isNew)) return others;
    await observe();
    const attempted = new Set(devices.map(({ key }) => key));
    const names = new Set(devices.flatMap(linkName));
    const pending = tracker
      .pending()
      .filter(({ key }) => !attempted.has(key))
      .map((one) =>
        names.has(deviceOf(one.change.object) ?? "") ? { ...one, cause: "plan" as const } : one,
      );
    return inOrder(this.due(pending).due);
  }

  /** Objects that disappeared with their device are not counted: a conflict, if there is one, is about the device. */
  #noteRepairs(repairs: readonly PendingChange[], madeDevices: ReadonlySet<string>): Counts {
    const { clock, logger } = this.#options;
    const repaired: Partial<Record<ObjectKind, number>> = {};
    for (const [index, { key, change }] of repairs.entries()) {
      if (change.op !== "delete") {
        count(repaired, change.object.kind);
        count(this.#repaired, change.object.kind);
      }
      if (change.op === "recreate") {
        logger.warn("another program replaced our device; it is deleted and ours is created again", {
          object: describe(change.object),
          found: describe(change.actual),
        });
      } else if (index < REPAIRS_LOGGED) {
        logger.debug("drift repaired", { op: change.op, object: describe(change.object) });
      }
      if (madeDevices.has(deviceOf(change.object) ?? "")) continue;
      const conflict = this.contention.record(key, change, clock.monotonicMs());
      if (conflict !== null) {
        const { evidence, repairs: times } = conflict;
        logger.warn("something keeps undoing our change; repairing it less often now", {
          key,
          evidence,
          times,
        });
      }
    }
    if (repairs.length > REPAIRS_LOGGED) logger.info("much drift repaired", repaired);
    return repaired;
  }
}

function linkName({ change: { object } }: PendingChange): string[] {
  return object.kind === "link" ? [object.name] : [];
}

function count(counters: Partial<Record<ObjectKind, number>>, kind: ObjectKind): void {
  counters[kind] = (counters[kind] ?? 0) + 1;
}
