/**
 * A listing of ranges in etcd and the changes since, for as long as one watch stream lasts.
 *
 * Ends with an error whenever completeness is not certain. Called again with the same history it continues after the
 * last reported change, or lists again when that is not possible.
 */

import type * as Rpc from "etcd3/lib/rpc.js";
import { StoreError } from "../../errors.ts";
import type { EntryChange } from "../contracts.ts";
import { isInRange, type KeyMessage } from "../key-value.ts";
import type { Latency } from "../latency.ts";
import type { EtcdClient, WatchStream } from "./client.ts";
import { etcdError, UnavailableError } from "./errors.ts";
import { EtcdHistory, isDelete } from "./history.ts";
import { listingOf, listRanges } from "./listing.ts";
import { entryOf, spanOf } from "./wire.ts";

/** A server that sends nothing for this long is asked for its progress. */
const SILENCE_MS = 5_000;

/** It is left when it has not answered by then, besides its latency. */
const ANSWER_MS = 3_000;

/** The history differs from what was seen: list again. */
class HistoryLostError extends StoreError {}

/** Follows ranges, attempt after attempt. */
export class EtcdFollower {
  readonly #client: EtcdClient;
  readonly #ranges: readonly string[];
  #history: EtcdHistory | null = null;

  constructor(client: EtcdClient, ranges: readonly string[]) {
    this.#client = client;
    this.#ranges = ranges;
  }

  /** One attempt. `alive` is called once the stream is open. */
  async *follow(alive: () => void, signal: AbortSignal): AsyncGenerator<KeyMessage> {
    if (this.#history !== null && !(await this.#history.isStillTrue(this.#client, signal))) {
      this.#history = null;
    }
    const known = this.#history ?? (yield* this.#list(signal));
    try {
      yield* this.#changes(known, alive, signal);
    } catch (error) {
      if (error instanceof HistoryLostError) this.#history = null;
      throw error;
    }
  }

  /** A generator of its own: one that waits for changes would keep the server's whole answer until its end. */
  async *#list(signal: AbortSignal): AsyncGenerator<KeyMessage, EtcdHistory> {
    const listing = await listRanges(this.#client, this.#ranges, signal);
    const history = new EtcdHistory(this.#ranges, listing);
    this.#history = history;
    yield { type: "list", ...listingOf(listing) };
    return history;
  }

  /**
   * One watch over all ranges and what lies between, for a single order of events: of two watches one may run ahead,
   * and what the other has not yet reported would be lost at a resumption.
   */
  async *#changes(history: EtcdHistory, alive: () => void, signal: AbortSignal): AsyncGenerator<KeyMessage> {
    const { stream, latency, leave } = await this.#client.watch(signal);
    const responses = new Responses(stream, latency, signal);
    try {
      const start_revision = String(history.revision + 1n);
      stream.write({ create_request: { ...spanOf(this.#ranges), start_revision } });
      while (true) {
        const response = await responses.next();
        checkResponse(response, history.revision);
        if (response.created) alive();
        for (const event of response.events) history.add(event);
        const changes = response.events.flatMap((event) => this.#changeOf(event));
        if (changes.length > 0) yield { type: "changes", revision: history.revision, changes };
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof HistoryLostError)) leave();
      throw etcdError(this.#client.description, "Watch.watch", [error]);
    } finally {
      responses.stop();
      stream.cancel();
    }
  }

  /** Nothing for keys between the ranges. */
  #changeOf(event: Rpc.IEvent): EntryChange[] {
    const key = event.kv.key.toString();
    if (!this.#ranges.some((range) => isInRange(key, range))) return [];
    return isDelete(event)
      ? [{ type: "delete", key, revision: BigInt(event.kv.mod_revision) }]
      : [{ type: "put", entry: entryOf(event.kv) }];
  }
}

function checkResponse(response: Rpc.IWatchResponse, revision: bigint): void {
  if (response.compact_revision !== "0") {
    throw new HistoryLostError(
      `etcd ended the watch: history before ${response.compact_revision} is compacted: listing again`,
      { retryable: true },
    );
  }
  // Such as a missing permission; the history that was seen is still valid.
  if (response.canceled) throw new Error(response.cancel_reason || "etcd ended the watch without a reason");
  if (response.created && BigInt(response.header.revision) < revision) {
    throw new HistoryLostError(
      `etcd is at revision ${response.header.revision}, before ${revision}: it was restored from a backup`,
      { retryable: true },
    );
  }
}

/** The stream's responses as a queue, with a watchdog, because a hung server does not close the stream. */
class Responses {
  readonly #stream: WatchStream;
  readonly #latency: Latency;
  readonly #signal: AbortSignal;
  readonly #queue: Rpc.IWatchResponse[] = [];
  readonly #onAbort = () => this.#fail(this.#signal.reason);
  #failure: { readonly error: unknown } | null = null;
  #wake = () => {};
  #timer: NodeJS.Timeout | null = null;

  constructor(stream: WatchStream, latency: Latency, signal: AbortSignal) {
    this.#stream = stream;
    this.#latency = latency;
    this.#signal = signal;
    stream.on("data", (response) => {
      this.#expectMessage();
      this.#queue.push(response);
      this.#wake();
    });
    stream.on("error", (error) => this.#fail(error));
    stream.on("end", () => this.#fail(new UnavailableError("the server closed the stream")));
    signal.addEventListener("abort", this.#onAbort, { once: true });
    this.#expectAnswer();
    // A signal that fired while the stream was opened calls no listener.
    if (signal.aborted) this.#onAbort();
  }

  /** The next response. Rejects with the error that ended the stream, after all responses before it. */
  async next(): Promise<Rpc.IWatchResponse> {
    while (true) {
      const response = this.#queue.shift();
      if (response) return response;
      if (this.#failure) throw this.#failure.error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  stop(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#signal.removeEventListener("abort", this.#onAbort);
    this.#failure ??= { error: new UnavailableError("the stream was left") };
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.stop();
    this.#wake();
  }

  #expectMessage(): void {
    this.#within(SILENCE_MS, () => {
      this.#stream.write({ progress_request: {} });
      this.#expectAnswer();
    });
  }

  #expectAnswer(): void {
    this.#within(this.#latency.deadlineMs(ANSWER_MS), () =>
      this.#fail(new UnavailableError("the watch stream is silent: timed out")),
    );
  }

  #within(delayMs: number, action: () => void): void {
    if (this.#timer) clearTimeout(this.#timer);
    const guarded = (): void => {
      try {
        action();
      } catch (error) {
        this.#fail(error);
      }
    };
    this.#timer = this.#failure ? null : setTimeout(guarded, delayMs);
  }
}
