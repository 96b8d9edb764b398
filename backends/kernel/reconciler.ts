/**
 * Makes the kernel equal to the plan and keeps it so.
 *
 * Level-triggered: new plans, events and timers only mark what is dirty; one pass at a time brings desired and
 * actual together, and the next pass repairs what this one could not. A steady pass changes nothing.
 *
 * This file decides when a pass runs and when the kernel is dumped; change-applier.ts makes the changes.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import { type Clock, Sleep } from "../../ipam/clock.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { FailureSeries, type Logger } from "../../ipam/log.ts";
import type { ObjectKey, Scope } from "../state/contract/kind.ts";
import { linkKey } from "../state/kinds/link.ts";
import { keyOf } from "../state/kinds/registry.ts";
import { type Conflict, type Plan, StateTracker } from "../state/tracker.ts";
import { type Applied, ChangeApplier, type Counts } from "./change-applier.ts";
import type { Contended } from "./contention.ts";
import type { FailedChange } from "./failures.ts";
import type { KernelEvent, KernelPort } from "./port.ts";

export interface ReconcilerOptions {
  readonly port: KernelPort;
  readonly scope: Scope;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 ≤ x < 1, spreads the audits of many hosts. */
  readonly random: () => number;
  /** Called after each pass that did or found something. */
  readonly onPass?: (report: PassReport) => void;
  /** An interface, an address or a default route of the host changed. */
  readonly onHostChange?: (device: string) => void;
}

/** What one pass did. */
export interface PassReport extends Applied {
  readonly atMs: number;
  readonly durationMs: number;
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

/** Between full dumps when nothing happens. */
const AUDIT_MS = 300_000;
/** Without a plan there is nothing to do until one comes. */
const IDLE_MS = 3_600_000;
/** The first retry comes at once, after a look at the kernel; then these. */
const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 30_000;

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #tracker: StateTracker;
  readonly #applier: ChangeApplier;
  readonly #troubles: FailureSeries;
  #lastPass: PassReport | null = null;
  #trouble: string | null = null;
  #passes = 0;
  #needsDump = true;
  #hasPlan = false;
  #consecutiveFailures = 0;
  /** The kernel is read again then, at the latest. */
  #dumpAtMs = Number.NEGATIVE_INFINITY;
  readonly #sleep: Sleep;
  #isDirty = false;
  readonly #waiters = new Set<() => void>();

  constructor(options: ReconcilerOptions) {
    const { port, scope, clock, logger } = options;
    this.#options = options;
    this.#tracker = new StateTracker(scope);
    this.#sleep = new Sleep(clock);
    this.#applier = new ChangeApplier({
      port,
      tracker: this.#tracker,
      clock,
      logger,
      observe: async () => {
        port.drain();
        if (this.#needsDump) await this.#dump();
      },
    });
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
    this.#applier.failures.retryNow();
    this.#poke();
  }

  /** Resolves after the next pass, however it ended. Rejects when `signal` fires. */
  passed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const onAbort = (): void => {
        this.#waiters.delete(onPass);
        reject(signal.reason);
      };
      const onPass = (): void => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiters.add(onPass);
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
    return this.#hasPlan && !this.#needsDump && this.#applier.failures.isEmpty && this.#tracker.isSettled;
  }

  status(): ReconcilerStatus {
    const { repaired, failures, contention } = this.#applier;
    return {
      desiredObjects: this.#tracker.desiredCount,
      isConverged: this.#isConverged,
      passes: this.#passes,
      lastPass: this.#lastPass,
      repaired,
      trouble: this.#trouble,
      failures: failures.list(),
      conflicts: [...this.#tracker.conflicts.values()],
      contended: contention.list(this.#options.clock.monotonicMs()),
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
        this.#tellWaiters();
      }
    } finally {
      unsubscribe();
    }
  }

  #tellWaiters(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const onPass of waiters) onPass();
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
          if (!this.#applier.contention.isQuiet) this.#noteTouch(keyOf(event.object), event.by);
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
    if (by !== undefined && by !== 0) this.#applier.contention.noteTouch(key, by);
  }

  /** One pass. Returns in how many milliseconds the next one is due if nothing happens before. */
  async #pass(): Promise<number> {
    const { clock, port, onPass } = this.#options;
    const startMs = clock.monotonicMs();
    try {
      port.drain();
      const wasDump = this.#needsDump || startMs >= this.#dumpAtMs;
      if (wasDump) await this.#dump();
      const { due, waitMs } = this.#applier.due();
      const applied = await this.#applier.apply(due, this.#consecutiveFailures > 0);
      if (this.#tracker.takeContest()) this.requestDump("an object changed while it was being changed");
      const report = { atMs: startMs, durationMs: clock.monotonicMs() - startMs, ...applied, wasDump };
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
    const { port, clock, random } = this.#options;
    // Requests that come in meanwhile count; and when the dump fails, it is still needed.
    this.#needsDump = false;
    const objects = await port.dump(this.#tracker.scope).catch((error: unknown) => {
      this.#needsDump = true;
      throw error;
    });
    this.#tracker.replaceActual(objects);
    this.#dumpAtMs = clock.monotonicMs() + AUDIT_MS * (0.9 + 0.2 * random());
  }

  #afterPass(failed: number, waitMs: number): number {
    if (failed > 0) return this.#retry();
    if (this.#applier.failures.isEmpty) this.#consecutiveFailures = 0;
    return Math.min(waitMs, this.#dumpAtMs - this.#options.clock.monotonicMs());
  }

  /** A change failed, so the kernel may differ from what was observed: dump before the retry, with back-off. */
  #retry(): number {
    const { clock, random } = this.#options;
    const doubledMs = RETRY_FIRST_MS * 2 ** (this.#consecutiveFailures - 1);
    const delayMs = this.#consecutiveFailures === 0 ? 0 : Math.min(RETRY_MAX_MS, doubledMs);
    this.#consecutiveFailures++;
    const spreadMs = delayMs * (0.75 + 0.5 * random());
    this.#dumpAtMs = clock.monotonicMs() + spreadMs;
    this.#applier.failures.retryAt(this.#dumpAtMs);
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
