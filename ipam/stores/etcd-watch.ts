/**
 * One watch stream of etcd over the leases and the configuration of a network.
 *
 * Ends with an error whenever it cannot promise completeness; who calls it resumes or lists again.
 */

import type * as Rpc from "etcd3/lib/rpc.js";
import { StoreError } from "../errors.ts";
import type { StoreChange } from "../store.ts";
import type { EtcdClient } from "./etcd-client.ts";
import { etcdError } from "./etcd-errors.ts";
import { entryOf, rangeEnd } from "./etcd-wire.ts";
import type { Layout } from "./layout.ts";
import type { StoreEnvironment } from "./options.ts";

/** A server that says nothing for this long is asked for a sign of life, and left when as long again passes. */
const SILENCE_MS = 10_000;

export interface WatchBatch {
  readonly revision: bigint;
  readonly changes: readonly StoreChange[];
}

/** History before our revision is gone, or the store went back in time: only a new listing helps. */
export class HistoryLostError extends StoreError {}

/** Yields what happened after `revision`, transaction by transaction. */
export async function* watchAfter(
  client: EtcdClient,
  layout: Layout,
  revision: bigint,
  environment: StoreEnvironment,
  signal: AbortSignal,
): AsyncGenerator<WatchBatch> {
  const stream = await client.stream<Rpc.IWatchRequest, Rpc.IWatchResponse>("Watch", "watch");
  const responses = receive(stream, client, signal);
  const watchdog = startWatchdog(stream, responses, environment, signal);
  try {
    const start_revision = String(revision + 1n);
    const subnets = Buffer.from(layout.subnets);
    stream.write({ create_request: { key: subnets, range_end: rangeEnd(subnets), start_revision } });
    stream.write({ create_request: { key: Buffer.from(layout.config), start_revision } });
    while (true) {
      const response = await responses.next();
      watchdog.heard();
      checkResponse(response, revision);
      const changes = response.events.map((event) => changeOf(event, layout));
      const last = response.events.at(-1);
      if (last) yield { revision: BigInt(last.kv.mod_revision), changes };
    }
  } finally {
    watchdog.stop();
    stream.cancel();
  }
}

function checkResponse(response: Rpc.IWatchResponse, revision: bigint): void {
  if (response.canceled || response.compact_revision !== "0") {
    const reason = response.cancel_reason || `history before ${response.compact_revision} is compacted`;
    throw new HistoryLostError(`etcd ended the watch: ${reason}`, { retryable: true });
  }
  if (response.created && BigInt(response.header.revision) < revision) {
    throw new HistoryLostError(
      `etcd is at revision ${response.header.revision}, before ${revision}: it was restored from a backup`,
      { retryable: true },
    );
  }
}

function changeOf(event: Rpc.IEvent, layout: Layout): StoreChange {
  const key = event.kv.key.toString();
  const revision = BigInt(event.kv.mod_revision);
  const isPut = event.type === "Put" || String(event.type) === "PUT";
  if (key === layout.config)
    return { type: "config", value: isPut ? event.kv.value.toString() : null, revision };
  const name = key.slice(layout.subnets.length);
  return isPut
    ? { type: "put", entry: entryOf(event.kv, layout.subnets) }
    : { type: "delete", key: name, revision };
}

interface Responses {
  next(): Promise<Rpc.IWatchResponse>;
  fail(error: unknown): void;
}

/** Turns the stream's events into a queue to await. */
function receive(
  stream: Rpc.IResponseStream<Rpc.IWatchResponse>,
  client: EtcdClient,
  signal: AbortSignal,
): Responses {
  const queue: Rpc.IWatchResponse[] = [];
  let failure: { readonly error: unknown } | null = null;
  let wake = () => {};
  const fail = (error: unknown) => {
    failure ??= { error };
    wake();
  };
  stream.on("data", (response) => {
    queue.push(response);
    wake();
  });
  stream.on("error", (error) => {
    if (!signal.aborted) client.moveOn();
    fail(etcdError(client.description, "watch", error));
  });
  stream.on("end", () => fail(new StoreError("etcd closed the watch stream", { retryable: true })));
  signal.addEventListener("abort", () => fail(signal.reason), { once: true });
  const next = async (): Promise<Rpc.IWatchResponse> => {
    while (true) {
      const response = queue.shift();
      if (response) return response;
      if (failure) throw failure.error;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { next, fail };
}

/** A hung server closes nothing: silence is answered with a question, and a second silence ends the stream. */
function startWatchdog(
  stream: Rpc.IRequestStream<Rpc.IWatchRequest>,
  responses: Responses,
  environment: StoreEnvironment,
  signal: AbortSignal,
): { heard(): void; stop(): void } {
  let isAsked = false;
  const timer = setInterval(() => {
    if (signal.aborted) return;
    if (isAsked) {
      environment.log.debug("etcd watch is silent, dialling again");
      responses.fail(
        new StoreError("etcd does not answer on the watch: timed out", {
          code: "TULLE_STORE_UNREACHABLE",
          retryable: true,
        }),
      );
      return;
    }
    isAsked = true;
    stream.write({ progress_request: {} });
  }, SILENCE_MS);
  return {
    heard: () => {
      isAsked = false;
      timer.refresh();
    },
    stop: () => clearInterval(timer),
  };
}
