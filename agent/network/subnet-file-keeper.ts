/**
 * Keeps subnet.env equal to what this host has, while other programs delete or overwrite it.
 *
 * Level-triggered: a change of the desired text, an event of the folder (inotify) and a timer only wake one loop,
 * which compares the file with the desired text and writes it. Programs at boot replace the file once; one that keeps
 * doing so is contention, against which the file is restored ever less often.
 */

import { type FSWatcher, watch } from "node:fs";
import { basename, dirname } from "node:path";
import { Backoff, type Clock, pause, Sleep } from "../../ipam/clock.ts";
import { formatSubnetEnv, type SubnetEnv } from "../../ipam/config/subnet-env.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { FailureSeries, type Logger } from "../../ipam/log.ts";
import type { Problem } from "./problems.ts";
import { readSubnetText, writeSubnetText } from "./subnet-file.ts";

export interface SubnetFileKeeperOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /** Called when `problem` may have changed. */
  readonly onChange: () => void;
}

/** Without events the file is compared this often. */
const CHECK_MS = 5_000;
/** A busy folder costs one check in this time. */
const SETTLE_MS = 50;
const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 30_000;
/** Restorations within this time of each other are one series. */
const SERIES_MS = 60_000;
/** So many in a series are contention. */
const CONTENTION = 3;

/** Another program's changes of the file, close to each other. */
interface Series {
  readonly count: number;
  readonly lastMs: number;
}

export class SubnetFileKeeper {
  readonly #options: SubnetFileKeeperOptions;
  readonly #failures: FailureSeries;
  readonly #backoff: Backoff;
  readonly #sleep: Sleep;
  readonly #waiting: (() => void)[] = [];
  #desired: string | null = null;
  /** What we wrote last, or found in place. */
  #written: string | null = null;
  #failure: string | null = null;
  #series: Series = { count: 0, lastMs: Number.NEGATIVE_INFINITY };
  /** Another program changed the file, and it is not restored before `restoreAtMs`. */
  #restoreAtMs: number | null = null;
  #isDirty = false;
  /** An event of the folder woke the loop; more may follow at once. */
  #isEventful = false;
  #watcher: FSWatcher | null = null;

  constructor(options: SubnetFileKeeperOptions) {
    const { clock, random, logger } = options;
    this.#options = options;
    this.#failures = new FailureSeries(
      logger,
      "subnet file cannot be written",
      "subnet file is written again",
    );
    this.#backoff = new Backoff({ baseMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, random });
    this.#sleep = new Sleep(clock);
  }

  /** Takes the file's new content; resolves after the first attempt to write it. Never rejects. */
  set(env: SubnetEnv): Promise<void> {
    this.#desired = formatSubnetEnv(env);
    const attempted = new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#poke();
    return attempted;
  }

  /** What is wrong with the file; blocking while it does not hold what this host has. */
  get problem(): Problem | null {
    const { path } = this.#options;
    if (this.#failure !== null) {
      const text = `subnet file ${path} cannot be written, so containers get no network from it: ${this.#failure}`;
      return { text, isBlocking: true };
    }
    if (this.#written === null) return { text: `subnet file ${path} is not written yet`, isBlocking: true };
    const { count, lastMs } = this.#series;
    const nowMs = this.#options.clock.monotonicMs();
    const isRecent = nowMs < lastMs + SERIES_MS;
    // A change that is undone at once is not reported: undoing it takes a moment.
    const isWaiting = this.#restoreAtMs !== null && this.#restoreAtMs > nowMs;
    if (!isWaiting && (count < CONTENTION || !isRecent)) return null;
    const text = `subnet file ${path} was changed ${count} times by another program, which must write elsewhere; stop it, or give tulled another -subnet-file`;
    return { text, isBlocking: isWaiting };
  }

  /** Runs until `signal` fires; the file stays. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, onChange } = this.#options;
    try {
      while (!signal.aborted) {
        const delayMs = await this.#check();
        for (const resolve of this.#waiting.splice(0)) resolve();
        onChange();
        if (!this.#isDirty) await this.#sleep.for(delayMs, signal);
        this.#isDirty = false;
        if (this.#isEventful) await pause(clock, SETTLE_MS, signal);
        this.#isEventful = false;
      }
    } finally {
      this.#unwatch();
      for (const resolve of this.#waiting.splice(0)) resolve();
    }
  }

  /** Compares and repairs once. Returns in how many milliseconds the next check is due. */
  async #check(): Promise<number> {
    const { path, clock } = this.#options;
    const desired = this.#desired;
    if (desired === null) return Number.POSITIVE_INFINITY;
    try {
      const nowMs = clock.monotonicMs();
      const found = readSubnetText(path);
      if (found !== desired) {
        if (this.#isForeign(found)) this.#noteForeign(found, nowMs);
        const waitMs = (this.#restoreAtMs ?? nowMs) - nowMs;
        if (waitMs > 0) return waitMs;
        await writeSubnetText(path, desired);
      }
      this.#written = desired;
      this.#restoreAtMs = null;
      this.#failure = null;
      this.#failures.succeeded({ path });
      this.#backoff.reset();
      this.#watchFolder();
      return CHECK_MS;
    } catch (error) {
      this.#failure = errorMessage(error);
      this.#failures.failed(error, { path });
      return this.#backoff.nextMs();
    }
  }

  /** Whether another program changed the file since we wrote it; noted once for each change. */
  #isForeign(found: string | null): boolean {
    return this.#written !== null && found !== this.#written && this.#restoreAtMs === null;
  }

  #noteForeign(found: string | null, nowMs: number): void {
    const { count: before, lastMs } = this.#series;
    const count = nowMs < lastMs + SERIES_MS ? before + 1 : 1;
    this.#series = { count, lastMs: nowMs };
    this.#restoreAtMs = nowMs + restoreDelayMs(count);
    if (!isReported(count)) return;
    const what = found === null ? "deleted" : "overwritten";
    this.#options.logger.warn(`subnet file was ${what} by another program and is restored`, {
      path: this.#options.path,
      ...(count === 1 ? {} : { times: count }),
    });
  }

  /** Watches the folder as it is now; it may have been deleted and created again. */
  #watchFolder(): void {
    const { path, logger } = this.#options;
    if (this.#watcher !== null) return;
    try {
      const name = basename(path);
      this.#watcher = watch(dirname(path), { persistent: false }, (type, changed) => {
        // Others may write a log beside the file; what is made, moved or removed may be the folder itself.
        if (type === "rename" || changed === null || changed === name) this.#folderChanged();
      });
      // A failing watch leaves the periodic check.
      this.#watcher.on("error", () => this.#unwatch());
    } catch (error) {
      logger.debug("folder of the subnet file cannot be watched", { path, error: errorMessage(error) });
    }
  }

  /** The watch ends with its folder, so each event opens another one after the check. */
  #folderChanged(): void {
    this.#unwatch();
    this.#isEventful = true;
    this.#poke();
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = null;
  }

  #poke(): void {
    this.#isDirty = true;
    this.#sleep.wake();
  }
}

/** The first ones at once, then 1 s, 2 s, … up to a minute. */
function restoreDelayMs(count: number): number {
  return count < CONTENTION ? 0 : Math.min(SERIES_MS, 1000 * 2 ** (count - CONTENTION));
}

/** The 1st, the 10th, the 100th … of a series. */
function isReported(count: number): boolean {
  return /^10*$/.test(String(count));
}
