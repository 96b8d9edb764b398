/**
 * Makes the kernel equal to the plan and keeps it so.
 *
 * Level-triggered: new plans, events and timers only mark what is dirty; one pass at a time brings desired and
 * actual together, and the next pass repairs what this one could not. A steady pass changes nothing.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import { type Clock, Sleep } from "../../ipam/clock.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { FailureSeries, type Logger } from "../../ipam/log.ts";
import type { ObjectKey, Scope } from "../state/contract/kind.ts";
import { linkKey } from "../state/kinds/link.ts";
import { describe, deviceOf, keyOf, type ObjectKind } from "../state/kinds/registry.ts";
import { inOrder } from "../state/order.ts";
import { type Conflict, type PendingChange, type Plan, StateTracker } from "../state/tracker.ts";
import { type Contended, Contention } from "./contention.ts";
import { type FailedChange, Failures, type Refusal } from "./failures.ts";
import type { KernelEvent, KernelPort } from "./port.ts";

export interface ReconcilerOptions {
  readonly port: KernelPort;
  readonly scope: Scope;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 ≤ x < 1, spreads the audits of many hosts. */
  readonly random: () => number;
  /** Seconds between full dumps when nothing happens. */
  readonly auditSeconds?: number;
  /** Called after each pass that did or found something. */
  readonly onPass?: (report: PassReport) => void;
  /** An interface, an address or a default route of the host changed. */
  readonly onHostChange?: (device: string) => void;
}

type Counts = Readonly<Partial<Record<ObjectKind, number>>>;

/** What one pass did. */
export interface PassReport {
  readonly atMs: number;
  readonly durationMs: number;
  /** Changes that the kernel accepted, by kind of object. */
  readonly applied: Counts;
  /** Of these, objects that another program or the kernel had removed or changed. */
  readonly repaired: Counts;
  /** Changes that it rejected; those that depend on a device that failed are not sent. */
  readonly failed: number;
  readonly wasDump: boolean;
}

export interface ReconcilerStatus {
  readonly desiredObjects: number;
  /** True when the last pass left nothing to do. */
  readonly isConverged: boolean;
  readonly passes: number;
  readonly lastPass: PassReport | null;
  readonly repaired: Counts;
  /** Why the last pass could not be finished; null when it was. */
  readonly trouble: string | null;
  readonly failures: readonly FailedChange[];
  readonly conflicts: readonly Conflict[];
  /** Objects that something keeps undoing, with what is known of who. */
  readonly contended: readonly Contended[];
}

const DEFAULT_AUDIT_SECONDS = 300;
/** Without a plan there is nothing to do until one comes. */
const IDLE_MS = 3_600_000;
/** The first retry comes at once, after a look at the kernel; then these. */
const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 30_000;
/** Of more repairs than these in one pass only the number is logged. */
const REPAIRS_LOGGED = 20;

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #tracker: StateTracker;
  readonly #contention: Contention;
  readonly #failures: Failures;
  readonly #troubles: FailureSeries;
  readonly #repaired: Partial<Record<ObjectKind, number>> = {};
  #lastPass: PassReport | null = null;
  #trouble: string | null = null;
  #passes = 0;
  #needsDump = true;
  #hasPlan = false;
  #consecutiveFailures = 0;
  /** Changes that failed are left alone until then. */
  #retryAtMs = Number.NEGATIVE_INFINITY;
  /** The kernel is read again then, at the latest. */
  #dumpAtMs = Number.NEGATIVE_INFINITY;
  readonly #sleep: Sleep;
  #isDirty = false;
  #waiters: (() => void)[] = [];

  constructor(options: ReconcilerOptions) {
    const { port, scope, logger } = options;
    this.#options = options;
    this.#tracker = new StateTracker(scope);
    this.#sleep = new Sleep(options.clock);
    this.#contention = new Contention((by) => port.programOf(by));
    this.#failures = new Failures(logger);
    this.#troubles = new FailureSeries(
      logger,
      "kernel state cannot be read or changed",
      "kernel state can be read again",
    );
  }

  /** Takes a plan; the loop applies it. */
  setDesired(plan: Plan): void {
    this.#hasPlan = true;
    this.#tracker.setDesired(plan);
    this.#poke();
  }

  /** Changes what may be looked at and touched; everything is looked at again. */
  setScope(scope: Scope): void {
    this.#tracker.setScope(scope);
    this.requestDump("scope");
  }

  /** Asks for a full comparison with the kernel in the next pass. */
  requestDump(reason: string): void {
    if (!this.#needsDump) this.#options.logger.debug("kernel state will be read again", { reason });
    this.#needsDump = true;
    this.#retryAtMs = Number.NEGATIVE_INFINITY;
    this.#poke();
  }

  /** Resolves after the next pass, however it ended. Rejects when `signal` fires. */
  passed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const onAbort = (): void => reject(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiters.push(() => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      });
    });
  }

  /** Makes a pass, and resolves after the first one that ends with nothing left to do. Rejects when `signal` fires. */
  async settled(signal: AbortSignal): Promise<void> {
    this.#poke();
    do {
      await this.passed(signal);
    } while (!this.#isConverged);
  }

  get #isConverged(): boolean {
    return this.#hasPlan && !this.#needsDump && this.#failures.isEmpty && this.#tracker.isSettled;
  }

  status(): ReconcilerStatus {
    return {
      desiredObjects: this.#tracker.desiredCount,
      isConverged: this.#isConverged,
      passes: this.#passes,
      lastPass: this.#lastPass,
      repaired: { ...this.#repaired },
      trouble: this.#trouble,
      failures: this.#failures.list(),
      conflicts: [...this.#tracker.conflicts.values()],
      contended: this.#contention.list(this.#options.clock.monotonicMs()),
    };
  }

  /** Runs until `signal` fires; leaves the kernel as it is. */
  async run(signal: AbortSignal): Promise<void> {
    const { port } = this.#options;
    const unsubscribe = port.subscribe(
      () => this.#tracker.scope,
      (events) => this.#receive(events),
    );
    let nextMs = 0;
    try {
      while (!signal.aborted) {
        await this.#untilDirty(nextMs, signal);
        if (signal.aborted) break;
        if (!this.#hasPlan) {
          nextMs = IDLE_MS;
          continue;
        }
        nextMs = await this.#pass();
        for (const resolve of this.#waiters.splice(0)) resolve();
      }
    } finally {
      unsubscribe();
    }
  }

  /** The event loop calls it, so nothing may escape. What an error kept from being taken is read with the next dump. */
  #receive(events: readonly KernelEvent[]): void {
    try {
      this.#take(events);
    } catch (error) {
      this.#trouble = errorMessage(error);
      this.#troubles.failed(error);
      this.requestDump("an event could not be processed");
    }
  }

  #take(events: readonly KernelEvent[]): void {
    for (const event of events) {
      switch (event.type) {
        case "present":
          this.#tracker.observe(event.object);
          if (!this.#contention.isQuiet) this.#noteTouch(keyOf(event.object), event.by);
          break;
        case "absent":
          this.#tracker.forget(event.key);
          this.#noteTouch(event.key, event.by);
          break;
        case "device-gone":
          this.#tracker.forgetDevice(event.device);
          this.#noteTouch(linkKey(event.device), event.by);
          this.requestDump(`device ${event.device} is gone`);
          break;
        case "listing":
          this.#tracker.replaceListed(event);
          break;
        case "resync":
          this.requestDump(event.reason);
          break;
        case "host":
          this.#options.onHostChange?.(event.device);
          break;
      }
    }
    if (!this.#tracker.isSettled) this.#poke();
  }

  #noteTouch(key: ObjectKey, by: number | undefined): void {
    if (by !== undefined && by !== 0) this.#contention.noteTouch(key, by);
  }

  /** One pass. Returns in how many milliseconds the next one is due if nothing happens before. */
  async #pass(): Promise<number> {
    const { clock, port, onPass } = this.#options;
    const startMs = clock.monotonicMs();
    try {
      port.drain();
      const wasDump = this.#needsDump || startMs >= this.#dumpAtMs;
      if (wasDump) await this.#dump();
      const { due, waitMs } = this.#due(clock.monotonicMs());
      const report = await this.#applyAll(due, startMs, wasDump);
      this.#passes++;
      this.#lastPass = report;
      this.#trouble = null;
      this.#troubles.succeeded();
      if (wasDump || due.length > 0) onPass?.(report);
      return this.#afterPass(report.failed, waitMs);
    } catch (error) {
      this.#trouble = errorMessage(error);
      this.#troubles.failed(error);
      return this.#retry();
    }
  }

  async #dump(): Promise<void> {
    const { port, clock, random, auditSeconds = DEFAULT_AUDIT_SECONDS } = this.#options;
    // Requests that come in meanwhile count; and when the dump fails, it is still needed.
    this.#needsDump = false;
    const objects = await port.dump(this.#tracker.scope).catch((error: unknown) => {
      this.#needsDump = true;
      throw error;
    });
    this.#tracker.replaceActual(objects);
    this.#dumpAtMs = clock.monotonicMs() + auditSeconds * 1000 * (0.9 + 0.2 * random());
  }

  /** The changes that may be made now, and the time until the first of those that must wait. */
  #due(nowMs: number, pending = this.#tracker.pending()): { due: readonly PendingChange[]; waitMs: number } {
    let waitMs = IDLE_MS;
    const isLate = ({ key, cause }: PendingChange): boolean => {
      const conflictMs = cause === "kernel" ? this.#contention.notBeforeMs(key) : Number.NEGATIVE_INFINITY;
      const failedMs = this.#failures.has(key) ? this.#retryAtMs : Number.NEGATIVE_INFINITY;
      const delayMs = Math.max(conflictMs, failedMs) - nowMs;
      if (delayMs > 0) waitMs = Math.min(waitMs, delayMs);
      return delayMs > 0;
    };
    this.#failures.retain(pending);
    if (this.#failures.isEmpty && this.#contention.isQuiet) return { due: pending, waitMs };
    const late = new Set(pending.filter(isLate));
    if (late.size === 0) return { due: pending, waitMs };
    const lateDevices = new Set([...late].flatMap(linkName));
    const due = pending.filter(
      (one) => !late.has(one) && !lateDevices.has(deviceOf(one.change.object) ?? ""),
    );
    return { due, waitMs };
  }

  async #applyAll(due: readonly PendingChange[], startMs: number, wasDump: boolean): Promise<PassReport> {
    const applied: Partial<Record<ObjectKind, number>> = {};
    const refusals: Refusal[] = [];
    const repairs: PendingChange[] = [];
    const apply = async (pending: readonly PendingChange[]): Promise<void> => {
      if (pending.length === 0) return;
      this.#tracker.begin(pending);
      const results = await this.#options.port.apply(pending.map((one) => one.change));
      for (const [index, one] of pending.entries()) {
        const error = results[index] ?? null;
        if (error !== null) {
          this.#tracker.fail(one);
          refusals.push({ pending: one, error });
          continue;
        }
        this.#tracker.confirm(one);
        count(applied, one.change.object.kind);
        if (one.cause === "kernel") repairs.push(one);
      }
    };
    const ordered = inOrder(due);
    const firstDependent = ordered.findIndex(({ change }) => change.object.kind !== "link");
    const devices = ordered.slice(0, firstDependent < 0 ? ordered.length : firstDependent);
    await apply(devices);
    const failedDevices = new Set(refusals.flatMap(({ pending }) => linkName(pending)));
    const others =
      devices.length === 0 ? ordered : await this.#dependentsOf(devices, ordered.slice(devices.length));
    await apply(others.filter((one) => !failedDevices.has(deviceOf(one.change.object) ?? "")));
    if (this.#tracker.takeContest()) this.requestDump("an object changed while it was being changed");
    this.#failures.note([...devices, ...others], refusals, this.#consecutiveFailures > 0);
    const repaired = this.#noteRepairs(repairs, new Set(devices.flatMap(linkName)));
    const durationMs = this.#options.clock.monotonicMs() - startMs;
    return { atMs: startMs, durationMs, applied, repaired, failed: refusals.length, wasDump };
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
    const { port, clock } = this.#options;
    const isNew = ({ change: { op } }: PendingChange): boolean => op === "create" || op === "delete";
    if (devices.every(isNew)) return others;
    port.drain();
    if (this.#needsDump) await this.#dump();
    const attempted = new Set(devices.map(({ key }) => key));
    const names = new Set(devices.flatMap(linkName));
    const pending = this.#tracker
      .pending()
      .filter(({ key }) => !attempted.has(key))
      .map((one) =>
        names.has(deviceOf(one.change.object) ?? "") ? { ...one, cause: "plan" as const } : one,
      );
    return inOrder(this.#due(clock.monotonicMs(), pending).due);
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
      const conflict = this.#contention.record(key, change, clock.monotonicMs());
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

  #afterPass(failed: number, waitMs: number): number {
    if (failed > 0) return this.#retry();
    if (this.#failures.isEmpty) this.#consecutiveFailures = 0;
    return Math.min(waitMs, this.#dumpAtMs - this.#options.clock.monotonicMs());
  }

  /** A change failed, so the kernel may differ from what was observed: dump before the retry, with back-off. */
  #retry(): number {
    const { clock, random } = this.#options;
    const doubledMs = RETRY_FIRST_MS * 2 ** (this.#consecutiveFailures - 1);
    const delayMs = this.#consecutiveFailures === 0 ? 0 : Math.min(RETRY_MAX_MS, doubledMs);
    this.#consecutiveFailures++;
    const spreadMs = delayMs * (0.75 + 0.5 * random());
    this.#retryAtMs = clock.monotonicMs() + spreadMs;
    this.#dumpAtMs = this.#retryAtMs;
    return spreadMs;
  }

  #poke(): void {
    this.#isDirty = true;
    this.#sleep.wake();
  }

  /** Resolves when there is something to do, and after `ms` milliseconds at the latest. */
  async #untilDirty(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#isDirty && ms > 0) await this.#sleep.for(ms, signal);
    // All events of one turn of the event loop, such as a burst of joins, are handled in one pass.
    await nextTurn();
    this.#isDirty = false;
  }
}

function linkName({ change: { object } }: PendingChange): string[] {
  return object.kind === "link" ? [object.name] : [];
}

function count(counters: Partial<Record<ObjectKind, number>>, kind: ObjectKind): void {
  counters[kind] = (counters[kind] ?? 0) + 1;
}
