/**
 * Keeps our lease: extends it in time, notices when it is no longer ours, and gets it back.
 *
 * The deadline is our own, on a clock that never jumps, so that an expiry is noticed even while the store is away.
 * Loss never touches the data path: it makes the host unready, says why, and tries to create the same key again.
 */

import { Backoff, type Clock } from "./clock.ts";
import { errorMessage, LeaseLostError, SubnetTakenError } from "./errors.ts";
import type { LeaseAttrs } from "./lease.ts";
import { formatLeaseValue, parseLeaseValue } from "./lease-codec.ts";
import { FailureSeries, type Logger } from "./log.ts";
import type { StoreEntry, SubnetStore } from "./store.ts";

export type LeaseState =
  | { readonly state: "held" }
  /** The store does not answer, or our lease is gone and being created again. */
  | { readonly state: "lost"; readonly reason: string }
  /** Another host has our key. */
  | { readonly state: "conflict"; readonly reason: string };

export interface OwnLeaseOptions {
  readonly store: SubnetStore;
  /** What the entry says now. */
  readonly attrs: LeaseAttrs;
  readonly ttlSeconds: number;
  /** flannel's subnet-lease-renew-margin: renew at the latest this long before the end. */
  readonly renewMarginSeconds: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 ≤ x < 1 */
  readonly random: () => number;
  readonly onState: (state: LeaseState) => void;
}

export class OwnLease {
  readonly #options: OwnLeaseOptions;
  readonly #failures: FailureSeries;
  #entry: StoreEntry;
  #deadlineMs: number;
  #state: LeaseState = { state: "held" };
  #attrs: LeaseAttrs;
  /** Text of `#attrs` that the store does not have yet. */
  #unpublished: string | null = null;
  #wake: (() => void) | null = null;
  renewals = 0;

  constructor(options: OwnLeaseOptions, entry: StoreEntry) {
    this.#options = options;
    this.#entry = entry;
    this.#attrs = options.attrs;
    this.#failures = new FailureSeries(
      options.logger,
      "lease could not be renewed",
      "lease is renewed again",
    );
    this.#deadlineMs = this.#deadlineFrom(entry, options.ttlSeconds);
  }

  get entry(): StoreEntry {
    return this.#entry;
  }

  get state(): LeaseState {
    return this.#state;
  }

  /** Monotonic milliseconds; Infinity for a reservation. */
  get deadlineMs(): number {
    return this.#deadlineMs;
  }

  /** Tells the other hosts other facts about this one, under the same subnet. */
  publish(attrs: LeaseAttrs): void {
    this.#attrs = attrs;
    this.#unpublished = formatLeaseValue(attrs);
    this.#wake?.();
  }

  /** What the store says now stands under our key; null when the key is gone. */
  observe(entry: StoreEntry | null): void {
    if (entry !== null && (entry.revision <= this.#entry.revision || this.#isOurs(entry))) {
      if (entry.revision > this.#entry.revision) this.#entry = entry;
      return;
    }
    this.#lose(
      entry === null ? "its key was deleted or expired" : this.#conflictReason(entry),
      entry !== null,
    );
    this.#wake?.();
  }

  /** Runs until `signal` fires; the lease stays in the store. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    const backoff = new Backoff({ baseMs: 100, maxMs: 5000, random });
    while (!signal.aborted) {
      const isHeld = this.#state.state === "held" && this.#failures.count === 0;
      const isUrgent = isHeld && this.#unpublished !== null;
      if (!isUrgent) await this.#nap(isHeld ? this.#renewDelayMs() : backoff.nextMs(), clock, signal);
      if (signal.aborted) return;
      try {
        if (this.#state.state !== "held") await this.#regain(signal);
        else if (this.#unpublished !== null) await this.#republish(this.#unpublished, signal);
        else await this.#renew(signal);
        backoff.reset();
        this.#failures.succeeded();
      } catch (error) {
        if (signal.aborted) return;
        this.#failed(error);
      }
    }
  }

  async #renew(signal: AbortSignal): Promise<void> {
    const seconds = await this.#options.store.keepAlive(this.#entry, signal);
    this.renewals++;
    this.#deadlineMs = this.#deadlineFrom(this.#entry, seconds);
  }

  async #republish(value: string, signal: AbortSignal): Promise<void> {
    this.#entry = await this.#options.store.replace(this.#entry, value, null, signal);
    if (this.#unpublished === value) this.#unpublished = null;
    this.#options.logger.info("lease tells other hosts of the change here", { key: this.#entry.key, value });
  }

  /** The same key again, if nobody else has it. */
  async #regain(signal: AbortSignal): Promise<void> {
    const { store, ttlSeconds, logger } = this.#options;
    const value = formatLeaseValue(this.#attrs);
    try {
      this.#entry = await store.create(this.#entry.key, value, ttlSeconds, signal);
      if (this.#unpublished === value) this.#unpublished = null;
    } catch (error) {
      if (!(error instanceof SubnetTakenError)) throw error;
      const { entries } = await store.list(signal);
      const holder = entries.find(({ key }) => key === this.#entry.key);
      if (holder === undefined || !this.#isOurs(holder)) {
        if (holder !== undefined) this.#lose(this.#conflictReason(holder), true);
        throw error;
      }
      this.#entry = holder;
    }
    this.#deadlineMs = this.#deadlineFrom(this.#entry, ttlSeconds);
    this.#set({ state: "held" });
    logger.info("lease is ours again", { key: this.#entry.key });
  }

  #failed(error: unknown): void {
    if (error instanceof LeaseLostError) this.#lose(errorMessage(error), false);
    else if (this.#state.state === "held" && this.#options.clock.monotonicMs() >= this.#deadlineMs) {
      this.#lose("it could not be renewed before its end", false);
    }
    this.#failures.failed(error, { key: this.#entry.key });
  }

  #lose(reason: string, isConflict: boolean): void {
    const { logger } = this.#options;
    const next = { state: isConflict ? "conflict" : "lost", reason } as const;
    if (this.#state.state !== next.state) {
      logger.error("our lease is lost; traffic goes on, the lease is asked for again", {
        key: this.#entry.key,
        reason,
      });
    }
    this.#set(next);
  }

  #set(state: LeaseState): void {
    this.#state = state;
    this.#options.onState(state);
  }

  #isOurs(entry: StoreEntry): boolean {
    try {
      return parseLeaseValue(entry.value).nodeId === this.#attrs.nodeId;
    } catch {
      return false;
    }
  }

  #conflictReason(entry: StoreEntry): string {
    return `another host holds key ${entry.key} now (${entry.value.slice(0, 200)}); restart this daemon to take another subnet, or delete the key if that host is wrong`;
  }

  #deadlineFrom(entry: StoreEntry, seconds: number): number {
    if (entry.storeLeaseId === null) return Number.POSITIVE_INFINITY;
    return this.#options.clock.monotonicMs() + seconds * 1000;
  }

  /** A third of the time to live, or sooner when the margin asks for it. */
  #renewDelayMs(): number {
    const { ttlSeconds, renewMarginSeconds } = this.#options;
    const beforeMargin = ttlSeconds - renewMarginSeconds;
    return Math.min(ttlSeconds / 3, beforeMargin > 0 ? beforeMargin : ttlSeconds / 3) * 1000;
  }

  async #nap(ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
    const nap = new AbortController();
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    const slept = clock.sleep(ms, AbortSignal.any([nap.signal, signal])).catch(() => undefined);
    await Promise.race([woken, slept]);
    nap.abort();
    this.#wake = null;
  }
}
