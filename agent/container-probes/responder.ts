/**
 * Serves other hosts' `tulle connectivity --containers`: while a request in the store names this host, a container of its
 * own answers, and a record says where.
 */

import { type Clock, Sleep } from "../../ipam/clock.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";
import { errorFields, FailureSeries, type Logger } from "../../ipam/log.ts";
import type { RecordMessage, Records } from "../../ipam/stores/contracts.ts";
import { type ContainerPlace, ProbeContainer } from "./probe-container.ts";
import {
  answersFolder,
  decodeRequest,
  encodeAnswer,
  parseRequestName,
  RECORD_SECONDS,
  REQUESTS_FOLDER,
  readOrNull,
} from "./records.ts";

/** Requests that are served at the same time; there may be as many again that name other hosts. */
const MOST_SERVED = 16;
/** A request that someone has written without an end is served no longer. */
const LONGEST_MS = 600_000;
const RETRY_MS = 1_000;
/** Half of the time in which an answer expires. */
const RENEW_MS = (RECORD_SECONDS * 1_000) / 2;

export interface ResponderOptions {
  readonly records: Records;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodeId: () => string;
  readonly leaseKey: () => LeaseKey;
  readonly place: () => ContainerPlace;
}

interface Served {
  readonly sinceMs: number;
  /** When the answer was written last; null before. */
  writtenMs: number | null;
}

export class ContainerResponder {
  readonly #options: ResponderOptions;
  readonly #sleep: Sleep;
  readonly #failures: FailureSeries;
  /** What each request asks for, by its id. */
  readonly #requests = new Map<string, ReadonlySet<string>>();
  readonly #served = new Map<string, Served>();
  #isChanged = true;
  #container: { readonly lease: LeaseKey; readonly made: ProbeContainer } | null = null;

  constructor(options: ResponderOptions) {
    this.#options = options;
    this.#sleep = new Sleep(options.clock);
    this.#failures = new FailureSeries(
      options.logger,
      "no container for another host's measurement",
      "a container for another host's measurement is there",
    );
  }

  /** Serves until the signal fires. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await Promise.all([this.#follow(signal), this.#serve(signal)]);
    } finally {
      await this.#endContainer();
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for await (const message of this.#options.records.watch(REQUESTS_FOLDER, signal)) {
      this.#take(message);
      this.#isChanged = true;
      this.#sleep.wake();
    }
  }

  #take(message: RecordMessage): void {
    const isListing = message.type === "list";
    const entries = isListing ? message.entries : [];
    if (isListing) this.#requests.clear();
    for (const { key, value } of entries) this.#note(key, value);
    for (const change of isListing ? [] : message.changes) {
      if (change.type === "put") this.#note(change.entry.key, change.entry.value);
      else this.#requests.delete(parseRequestName(change.key) ?? "");
    }
  }

  /** One that is damaged names no host, and expires. */
  #note(key: string, value: string): void {
    const id = parseRequestName(key);
    const peers = readOrNull(value, decodeRequest);
    const isFull = this.#requests.size >= 2 * MOST_SERVED;
    if (id !== null && peers !== null && !isFull) this.#requests.set(id, peers);
  }

  async #serve(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#isChanged = false;
      const pauseMs = await this.#try(signal);
      if (!this.#isChanged) await this.#sleep.for(pauseMs, signal);
    }
  }

  /** Returns in how many milliseconds there is something to do if nothing happens before. */
  async #try(signal: AbortSignal): Promise<number> {
    try {
      await this.#bring(signal);
      this.#failures.succeeded();
      return this.#served.size > 0 ? RENEW_MS : LONGEST_MS;
    } catch (error) {
      if (!signal.aborted) this.#failures.failed(error);
      return RETRY_MS;
    }
  }

  /** What is served, made equal to what is asked. */
  async #bring(signal: AbortSignal): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    const lease = this.#options.leaseKey();
    const asking = [...this.#requests].flatMap(([id, peers]) => (peers.has(lease) ? [id] : []));
    for (const id of this.#served.keys()) if (!asking.includes(id)) this.#served.delete(id);
    for (const id of asking.slice(0, MOST_SERVED))
      if (!this.#served.has(id)) this.#served.set(id, { sinceMs: nowMs, writtenMs: null });
    const current = [...this.#served].filter(([, { sinceMs }]) => nowMs - sinceMs < LONGEST_MS);
    if (current.length === 0 || this.#container?.lease !== lease) await this.#endContainer();
    if (current.length === 0) return;
    if (this.#container === null) {
      this.#container = await this.#makeContainer(lease, signal);
      for (const served of this.#served.values()) served.writtenMs = null;
    }
    for (const [id, served] of current) {
      if (served.writtenMs !== null && nowMs - served.writtenMs < RENEW_MS) continue;
      await this.#answer(id, signal);
      served.writtenMs = nowMs;
    }
  }

  async #makeContainer(
    lease: LeaseKey,
    signal: AbortSignal,
  ): Promise<{ readonly lease: LeaseKey; readonly made: ProbeContainer }> {
    const { clock, logger, place } = this.#options;
    const made = await ProbeContainer.open(place(), clock, signal);
    const addresses = Object.values(made.addresses).map(String);
    logger.info("a container of our own answers another host's measurement", {
      addresses,
      bridge: made.bridge ?? "none",
    });
    return { lease, made };
  }

  async #answer(id: string, signal: AbortSignal): Promise<void> {
    if (this.#container === null) return;
    const { records, nodeId } = this.#options;
    const { lease, made } = this.#container;
    const name = answersFolder(id) + nodeId();
    const value = encodeAnswer({ peer: lease, addresses: made.addresses });
    const before = await records.read(name, signal);
    await records.write(name, value, before, signal, RECORD_SECONDS);
  }

  async #endContainer(): Promise<void> {
    const container = this.#container;
    this.#container = null;
    try {
      await container?.made.close();
    } catch (error) {
      this.#options.logger.warn("a container of our own is left until this program ends", errorFields(error));
    }
  }
}
