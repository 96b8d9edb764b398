/**
 * Writes this host's health record when a path turns bad or good: at most one write in ten seconds, none while all paths
 * are good. The record is read seldom, and written again when it is another one.
 */

import { type Clock, pause, Sleep } from "../../ipam/clock.ts";
import { ConflictError } from "../../ipam/errors.ts";
import { FailureSeries, type Logger } from "../../ipam/log.ts";
import type { Records, StoreEntry } from "../../ipam/stores/contracts.ts";
import { type BadPath, encodeHealth, healthRecordName, substanceOf } from "./record.ts";

/** Between two writes, and from the start to the first: by then the paths have been examined once. */
export const WRITE_INTERVAL_MS = 10_000;
/**
 * Between two looks at the record while no path changes. Others may have deleted or replaced it: an administrator, or a
 * store that was restored from a backup.
 */
export const LOOK_INTERVAL_MS = 600_000;
/** The same after a write without an answer: what the kernel still holds for the store arrives when the way is back. */
const DOUBT_INTERVAL_MS = 30_000;
/** The kernel sends for a quarter of an hour (tcp_retries2, tcp(7)), and once more up to two minutes later. */
const DOUBT_MS = 18 * 60_000;

export interface HealthWriterOptions {
  readonly records: Records;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Asked each time: it may change. */
  readonly nodeId: () => string;
  /** The paths of this host that are broken now, in a fixed order. */
  readonly badPaths: () => readonly BadPath[];
}

export class HealthWriter {
  readonly #options: HealthWriterOptions;
  readonly #sleep: Sleep;
  readonly #failures: FailureSeries;
  #isDirty = true;
  /** The record is to be read, whatever is known of it. */
  #mustLook = false;
  #name = "";
  /** As last read or written; undefined when it must be read. */
  #stored: StoreEntry | null | undefined;
  /** Until then a write that has failed may still arrive at the store. */
  #doubtUntilMs = Number.NEGATIVE_INFINITY;
  /** What the last write of this run said; null before the first. */
  #written: string | null = null;

  constructor(options: HealthWriterOptions) {
    this.#options = options;
    this.#sleep = new Sleep(options.clock);
    this.#failures = new FailureSeries(
      options.logger,
      "health record could not be written",
      "health record is written",
    );
  }

  /** Paths may have turned bad or good. */
  changed(): void {
    this.#isDirty = true;
    this.#sleep.wake();
  }

  /** Writes until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    await pause(clock, WRITE_INTERVAL_MS, signal);
    while (!signal.aborted) {
      if (!this.#isDirty) {
        const isDoubtful = clock.monotonicMs() < this.#doubtUntilMs;
        await this.#sleep.for(isDoubtful ? DOUBT_INTERVAL_MS : LOOK_INTERVAL_MS, signal);
        this.#mustLook = !this.#isDirty;
        this.#isDirty = true;
        continue;
      }
      this.#isDirty = false;
      if (await this.#try(signal)) await pause(clock, WRITE_INTERVAL_MS, signal);
    }
  }

  /** Removes the record if this run wrote one: a host that no longer measures has nothing to report. Throws StoreError. */
  async withdraw(signal: AbortSignal): Promise<void> {
    const { records } = this.#options;
    if (!this.#stored) return;
    await records.remove(this.#stored, signal);
    this.#stored = null;
  }

  /** True when the store was written to, or must be tried again. */
  async #try(signal: AbortSignal): Promise<boolean> {
    try {
      const isWritten = await this.#bring(signal);
      this.#failures.succeeded();
      return isWritten;
    } catch (error) {
      this.#isDirty = true;
      this.#stored = undefined;
      if (!signal.aborted && !(error instanceof ConflictError)) this.#failures.failed(error);
      return true;
    }
  }

  async #bring(signal: AbortSignal): Promise<boolean> {
    const { records, nodeId, badPaths } = this.#options;
    const name = healthRecordName(nodeId());
    if (name !== this.#name) this.#stored = undefined;
    this.#name = name;
    if (this.#stored === undefined || this.#mustLook) {
      const known = this.#stored;
      this.#stored = await records.read(name, signal);
      this.#mustLook = false;
      if (known?.revision !== this.#stored?.revision) this.#written = null;
    }
    const paths = badPaths();
    const text = encodeHealth(paths);
    const substance = substanceOf(paths);
    if (text === null) {
      if (this.#stored === null) return false;
      await this.#change(records.remove(this.#stored, signal).then(() => null));
    } else {
      if (this.#stored !== null && (substance === this.#written || text === this.#stored.value)) return false;
      await this.#change(records.write(name, text, this.#stored, signal));
    }
    this.#written = substance;
    return true;
  }

  async #change(answer: Promise<StoreEntry | null>): Promise<void> {
    try {
      this.#stored = await answer;
    } catch (error) {
      this.#doubtUntilMs = this.#options.clock.monotonicMs() + DOUBT_MS;
      throw error;
    }
  }
}
