/**
 * Keeps this host's record in the store: leased, extended while the daemon runs, written again after it expired.
 *
 * A stopped daemon changes nothing on its host, so that its last write gives the record a long time to live.
 */

import { Backoff, type Clock, Sleep } from "../clock.ts";
import { ConflictError } from "../errors.ts";
import { FailureSeries, type Logger } from "../log.ts";
import { isOutcomeUnknown } from "../stores/answers.ts";
import type { Records, StoreEntry } from "../stores/contracts.ts";
import { encodeHost } from "./member-codec.ts";
import type { HostRecord } from "./named-network.ts";
import { hostRecord } from "./record-names.ts";

/** Hosts whose daemon died count as gone after this time. */
const HOST_TTL_SECONDS = 30;
/** As flannel's lease. */
const STOPPED_TTL_SECONDS = 24 * 3600;
/** For the last write. */
const FAREWELL_MS = 1_000;
const RETRY_MS = { baseMs: 100, maxMs: 2_000 };
/** From one write to the next: a host with a copy of this one's state directory writes the same record. */
const LEAST_PAUSE_MS = 50;

export interface PublisherOptions {
  readonly records: Records;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
}

export class HostPublisher {
  readonly #options: PublisherOptions;
  readonly #pause: Sleep;
  #record: HostRecord;
  #entry: StoreEntry | null = null;
  /** A change, or a deletion, that the next round must not miss. */
  #isStale = true;

  constructor(record: HostRecord, options: PublisherOptions) {
    this.#options = options;
    this.#record = record;
    this.#pause = new Sleep(options.clock);
  }

  get record(): HostRecord {
    return this.#record;
  }

  /** Publishes another record of this host. */
  set(record: HostRecord): void {
    if (encodeHost(record) === encodeHost(this.#record)) return;
    this.#record = record;
    this.#refresh();
  }

  /** The record as the watch shows it; null when it is absent. */
  observe(entry: StoreEntry | null): void {
    if (entry?.value !== encodeHost(this.#record)) this.#refresh();
  }

  /** Runs until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    const { random, logger } = this.#options;
    const backoff = new Backoff({ ...RETRY_MS, random });
    const failures = new FailureSeries(logger, "host record could not be written", "host record is written");
    while (!signal.aborted) {
      try {
        await this.#round(signal);
        failures.succeeded();
        backoff.reset();
        if (this.#isStale) await this.#options.clock.sleep(LEAST_PAUSE_MS, signal);
        else await this.#pause.for((HOST_TTL_SECONDS * 1000) / 3, signal);
      } catch (error) {
        if (signal.aborted) break;
        failures.failed(error);
        await this.#pause.for(backoff.nextMs(), signal);
      }
    }
    await this.#farewell();
  }

  async #round(signal: AbortSignal): Promise<void> {
    if (!this.#isStale && this.#entry !== null) {
      try {
        await this.#options.records.keepAlive(this.#entry, signal);
        return;
      } catch (error) {
        if (!(error instanceof ConflictError)) throw error;
      }
    }
    await this.#write(HOST_TTL_SECONDS, signal);
  }

  async #write(ttlSeconds: number, signal: AbortSignal): Promise<void> {
    const { records } = this.#options;
    const name = hostRecord(this.#record.host);
    this.#isStale = false;
    try {
      const found = await records.read(name, signal);
      this.#entry = await records.write(name, encodeHost(this.#record), found, signal, ttlSeconds);
    } catch (error) {
      this.#isStale = true;
      if (!(error instanceof ConflictError) && !isOutcomeUnknown(error)) throw error;
    }
  }

  async #farewell(): Promise<void> {
    if (this.#entry === null) return;
    try {
      await this.#write(STOPPED_TTL_SECONDS, AbortSignal.timeout(FAREWELL_MS));
    } catch (error) {
      this.#options.logger.warn("host record expires soon: its time to live could not be extended", {
        error: String(error),
      });
    }
  }

  #refresh(): void {
    this.#isStale = true;
    this.#pause.wake();
  }
}
