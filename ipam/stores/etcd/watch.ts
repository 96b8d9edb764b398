/**
 * A listing of a network in etcd and what changed since, for as long as one watch stream holds.
 *
 * Ends with an error whenever it cannot promise completeness. Called again with the same history it goes on after
 * what it has told, or lists anew when that is not possible.
 */

import type * as Rpc from "etcd3/lib/rpc.js";
import { StoreError } from "../../errors.ts";
import type { Layout } from "../layout.ts";
import type { StoreChange, StoreMessage } from "../store.ts";
import type { EtcdClient, WatchStream } from "./client.ts";
import { etcdError, UnavailableError } from "./errors.ts";
import { EtcdHistory, isDelete } from "./history.ts";
import { listingOf, listNetwork } from "./listing.ts";
import { entryOf, rangeEnd } from "./wire.ts";

/** A server that says nothing for this long is asked for a sign of life. */
const SILENCE_MS = 5_000;

/** It is left when it has not answered after as long again. */
const ANSWER_MS = 3_000;

/** The history goes on differently from what we saw of it: only a new listing helps. */
class HistoryLostError extends StoreError {}

/** Follows one network, try after try. */
export class EtcdFollower {
  readonly #client: EtcdClient;
  readonly #layout: Layout;
  #history: EtcdHistory | null = null;

  constructor(client: EtcdClient, layout: Layout) {
    this.#client = client;
    this.#layout = layout;
  }

  /** One try. `alive` is called once the stream stands. */
  async *follow(alive: () => void, signal: AbortSignal): AsyncGenerator<StoreMessage> {
    if (this.#history !== null && !(await this.#history.isStillTrue(this.#client, signal))) {
      this.#history = null;
    }
    if (this.#history === null) {
      const listing = await listNetwork(this.#client, this.#layout, signal);
      this.#history = new EtcdHistory(this.#layout, listing);
      yield { type: "list", ...listingOf(listing, this.#layout) };
    }
    try {
      yield* this.#changes(this.#history, alive, signal);
    } catch (error) {
      if (error instanceof HistoryLostError) this.#history = null;
      throw error;
    }
  }

  /**
   * One watch over everything from the configuration to the last lease, for a single order of events: of two
   * watches one may run ahead, and what the other has not yet told would be lost at a resumption.
   */
  async *#changes(
    history: EtcdHistory,
    alive: () => void,
    signal: AbortSignal,
  ): AsyncGenerator<StoreMessage> {
    const { stream, leave } = await this.#client.watch(signal);
    const responses = new Responses(stream, signal);
    try {
      const key = Buffer.from(this.#layout.config);
      const range_end = rangeEnd(Buffer.from(this.#layout.subnets));
      stream.write({
        create_request: { key, range_end, start_revision: String(history.revision + 1n) },
      });
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

  /** Nothing for the keys between configuration and leases, which are not ours. */
  #changeOf(event: Rpc.IEvent): StoreChange[] {
    const { kv } = event;
    const key = kv.key.toString();
    const revision = BigInt(kv.mod_revision);
    const isDeletion = isDelete(event);
    if (key === this.#layout.config) {
      return [{ type: "config", value: isDeletion ? null : kv.value.toString(), revision }];
    }
    const folder = this.#layout.subnets;
    if (!key.startsWith(folder)) return [];
    return isDeletion
      ? [{ type: "delete", key: key.slice(folder.length), revision }]
      : [{ type: "put", entry: entryOf(kv, folder) }];
  }
}

function checkResponse(response: Rpc.IWatchResponse, revision: bigint): void {
  if (response.compact_revision !== "0") {
    throw new HistoryLostError(
      `etcd ended the watch: history before ${response.compact_revision} is compacted: listing again`,
      { retryable: true },
    );
  }
  // Such as a missing permission; what we saw of the history is still true.
  if (response.canceled) throw new Error(response.cancel_reason || "etcd ended the watch without a reason");
  if (response.created && BigInt(response.header.revision) < revision) {
    throw new HistoryLostError(
      `etcd is at revision ${response.header.revision}, before ${revision}: it was restored from a backup`,
      { retryable: true },
    );
  }
}

/** The stream's events as a queue to await, with a watchdog: a hung server closes nothing. */
class Responses {
  readonly #stream: WatchStream;
  readonly #signal: AbortSignal;
  readonly #queue: Rpc.IWatchResponse[] = [];
  readonly #onAbort = () => this.#fail(this.#signal.reason);
  #failure: { readonly error: unknown } | null = null;
  #wake = () => {};
  #timer: NodeJS.Timeout | null = null;

  constructor(stream: WatchStream, signal: AbortSignal) {
    this.#stream = stream;
    this.#signal = signal;
    stream.on("data", (response) => {
      this.#expectWord();
      this.#queue.push(response);
      this.#wake();
    });
    stream.on("error", (error) => this.#fail(error));
    stream.on("end", () => this.#fail(new UnavailableError("the server closed the stream")));
    signal.addEventListener("abort", this.#onAbort, { once: true });
    this.#expectAnswer();
  }

  /** The next response. Rejects with what ended the stream, after what came before that. */
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

  #expectWord(): void {
    this.#within(SILENCE_MS, () => {
      this.#stream.write({ progress_request: {} });
      this.#expectAnswer();
    });
  }

  #expectAnswer(): void {
    this.#within(ANSWER_MS, () => this.#fail(new UnavailableError("the watch stream is silent: timed out")));
  }

  #within(delayMs: number, action: () => void): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = this.#failure ? null : setTimeout(action, delayMs);
  }
}
