/**
 * Makes the kernel equal to the plan and keeps it so.
 *
 * Level-triggered: new plans, events and timers only mark what is dirty; one pass at a time brings desired and
 * actual together, and the next pass repairs what this one could not. A steady pass changes nothing.
 */

import type { Clock } from "../../ipam/clock.ts";
import { errorMessage } from "../../ipam/errors.ts";
import type { Logger } from "../../ipam/log.ts";
import type { ObjectKey, ObjectKind } from "../state/objects.ts";
import { inOrder } from "../state/order.ts";
import type { Scope } from "../state/ownership.ts";
import { describe } from "../state/render.ts";
import { type Conflict, type DesiredState, type PendingChange, StateTracker } from "../state/tracker.ts";
import type { KernelEvent, KernelPort } from "./port.ts";
import { RepairLimiter } from "./repair-limiter.ts";

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
  /** An interface outside the scope changed. */
  readonly onHostChange?: (device: string) => void;
}

/** What one pass did. */
export interface PassReport {
  readonly atMs: number;
  readonly durationMs: number;
  /** Changes that the kernel accepted, by kind of object. */
  readonly applied: Readonly<Partial<Record<ObjectKind, number>>>;
  /** Of these, objects that somebody had removed or changed. */
  readonly repaired: Readonly<Partial<Record<ObjectKind, number>>>;
  readonly failed: number;
  readonly wasDump: boolean;
}

/** A change that the kernel refused in the last pass. */
export interface FailedChange {
  readonly key: ObjectKey;
  readonly message: string;
}

export interface ReconcilerStatus {
  readonly desiredObjects: number;
  /** True when the last pass left nothing to do. */
  readonly isConverged: boolean;
  readonly passes: number;
  readonly lastPass: PassReport | null;
  readonly repaired: Readonly<Partial<Record<ObjectKind, number>>>;
  readonly failures: readonly FailedChange[];
  readonly conflicts: readonly Conflict[];
  /** Objects that something keeps undoing, with the number of repairs. */
  readonly contended: readonly { readonly key: ObjectKey; readonly repairs: number }[];
}

const DEFAULT_AUDIT_SECONDS = 300;
/** Without a plan there is nothing to do until one comes. */
const IDLE_MS = 3_600_000;
const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 30_000;

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #tracker: StateTracker;
  readonly #limiter = new RepairLimiter();
  readonly #repaired: Partial<Record<ObjectKind, number>> = {};
  #failures = new Map<ObjectKey, string>();
  #lastPass: PassReport | null = null;
  #passes = 0;
  #needsDump = true;
  #hasPlan = false;
  #consecutiveFailures = 0;
  #wake: (() => void) | null = null;
  #isAwake = false;
  #waiters: (() => void)[] = [];

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#tracker = new StateTracker(options.scope);
  }

  /** Takes a complete plan; the loop applies it. Must be made from a synced snapshot. */
  setDesired(groups: DesiredState): void {
    this.#hasPlan = true;
    this.#tracker.setDesired(groups);
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
    this.#poke();
  }

  /** Resolves after the next pass that ends with nothing left to do. Rejects when `signal` fires. */
  settled(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      this.#waiters.push(resolve);
      this.#poke();
    });
  }

  status(): ReconcilerStatus {
    return {
      desiredObjects: this.#tracker.desiredCount,
      isConverged: this.#hasPlan && !this.#needsDump && this.#tracker.isSettled,
      passes: this.#passes,
      lastPass: this.#lastPass,
      repaired: { ...this.#repaired },
      failures: [...this.#failures].map(([key, message]) => ({ key, message })),
      conflicts: [...this.#tracker.conflicts.values()],
      contended: [...this.#limiter.contended(this.#options.clock.monotonicMs())].map(([key, repairs]) => ({
        key,
        repairs,
      })),
    };
  }

  /** Runs until `signal` fires; leaves the kernel as it is. */
  async run(signal: AbortSignal): Promise<void> {
    const { port } = this.#options;
    port.subscribe(
      () => this.#tracker.scope,
      (events) => this.#take(events),
    );
    signal.addEventListener("abort", () => this.#poke(), { once: true });
    let nextMs = 0;
    while (!signal.aborted) {
      await this.#sleep(nextMs, signal);
      if (signal.aborted) break;
      nextMs = this.#hasPlan ? await this.#pass() : IDLE_MS;
    }
  }

  #take(events: readonly KernelEvent[]): void {
    for (const event of events) {
      switch (event.type) {
        case "present":
          this.#tracker.observe(event.object);
          break;
        case "absent":
          this.#tracker.forget(event.key);
          break;
        case "device-gone":
          this.#tracker.forgetDevice(event.device);
          this.requestDump(`device ${event.device} is gone`);
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

  /** One pass. Answers in how many milliseconds the next one is due if nothing happens before. */
  async #pass(): Promise<number> {
    const { clock, logger, onPass } = this.#options;
    const startMs = clock.monotonicMs();
    const wasDump = this.#needsDump;
    try {
      if (wasDump) await this.#dump();
      const { due, waitMs } = this.#due(clock.monotonicMs());
      const report = await this.#applyAll(due, startMs, wasDump);
      this.#passes++;
      this.#lastPass = report;
      if (wasDump || due.length > 0) onPass?.(report);
      return this.#afterPass(report.failed, waitMs);
    } catch (error) {
      logger.warn("reading or changing kernel state failed", { error: errorMessage(error) });
      this.#needsDump = true;
      return this.#retryDelayMs();
    }
  }

  async #dump(): Promise<void> {
    this.#needsDump = false;
    this.#tracker.replaceActual(await this.#options.port.dump(this.#tracker.scope));
  }

  /** The changes that may be made now, and the time until the first of those that must wait. */
  #due(nowMs: number): { due: PendingChange[]; waitMs: number } {
    let waitMs = IDLE_MS;
    const due = this.#tracker.pending().filter(({ key, cause }) => {
      if (cause === "plan") return true;
      const delayMs = this.#limiter.notBeforeMs(key) - nowMs;
      if (delayMs <= 0) return true;
      waitMs = Math.min(waitMs, delayMs);
      return false;
    });
    return { due, waitMs };
  }

  async #applyAll(due: readonly PendingChange[], startMs: number, wasDump: boolean): Promise<PassReport> {
    const { port, clock } = this.#options;
    const byChange = new Map(due.map((pending) => [pending.change, pending]));
    const ordered = inOrder(due.map(({ change }) => change));
    const results = ordered.length > 0 ? await port.apply(ordered) : [];
    const applied: Partial<Record<ObjectKind, number>> = {};
    const repaired: Partial<Record<ObjectKind, number>> = {};
    const failures = new Map<ObjectKey, string>();
    ordered.forEach((change, index) => {
      const pending = byChange.get(change);
      if (pending === undefined) return;
      const error = results[index] ?? null;
      if (error !== null) {
        failures.set(pending.key, error.message);
        return;
      }
      this.#tracker.confirm(pending);
      count(applied, change.object.kind);
      if (pending.cause === "kernel" && change.op !== "delete") {
        count(repaired, change.object.kind);
        this.#noteRepair(pending);
      }
    });
    this.#noteFailures(failures);
    return {
      atMs: startMs,
      durationMs: clock.monotonicMs() - startMs,
      applied,
      repaired,
      failed: failures.size,
      wasDump,
    };
  }

  #noteRepair({ key, change }: PendingChange): void {
    const { clock, logger } = this.#options;
    count(this.#repaired, change.object.kind);
    logger.debug("drift repaired", { op: change.op, object: describe(change.object) });
    if (this.#limiter.record(key, clock.monotonicMs())) {
      logger.warn("something keeps undoing our change; repairing it less often now", {
        object: describe(change.object),
      });
    }
  }

  #noteFailures(failures: Map<ObjectKey, string>): void {
    for (const [key, message] of failures) {
      if (this.#failures.get(key) !== message)
        this.#options.logger.warn("kernel refused a change", { key, error: message });
    }
    this.#failures = failures;
    // The kernel refused because it is not as we believed, or because it cannot: look before trying again.
    if (failures.size > 0) this.#needsDump = true;
  }

  #afterPass(failed: number, waitMs: number): number {
    if (failed > 0) return Math.min(waitMs, this.#retryDelayMs());
    this.#consecutiveFailures = 0;
    if (this.#tracker.isSettled && !this.#needsDump) for (const resolve of this.#waiters.splice(0)) resolve();
    const auditMs = (this.#options.auditSeconds ?? DEFAULT_AUDIT_SECONDS) * 1000;
    return Math.min(waitMs, auditMs * (0.9 + 0.2 * this.#options.random()));
  }

  #retryDelayMs(): number {
    const delayMs = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** this.#consecutiveFailures);
    this.#consecutiveFailures++;
    return delayMs * (0.75 + 0.5 * this.#options.random());
  }

  #poke(): void {
    this.#isAwake = true;
    this.#wake?.();
  }

  /** Sleeps until something is dirty, the time is over or `signal` fires. */
  async #sleep(delayMs: number, signal: AbortSignal): Promise<void> {
    if (!this.#isAwake && delayMs > 0) {
      const nap = new AbortController();
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await Promise.race([woken, this.#options.clock.sleep(delayMs, nap.signal).catch(() => undefined)]);
      nap.abort();
      this.#wake = null;
      // A timer that ended the nap is the audit (or a retry): compare with the kernel itself.
      if (!this.#isAwake && !signal.aborted) this.#needsDump = true;
    }
    this.#isAwake = false;
  }
}

function count(counters: Partial<Record<ObjectKind, number>>, kind: ObjectKind): void {
  counters[kind] = (counters[kind] ?? 0) + 1;
}
