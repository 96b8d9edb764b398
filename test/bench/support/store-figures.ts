/** What is measured of every lease store in the same way: listings, and the way of a change to a watcher. */

import { systemClock } from "../../../ipam/clock.ts";
import { decodeEntry } from "../../../ipam/leases/lease-codec.ts";
import type { NetworkStore, StoreConnection } from "../../../ipam/stores/contracts.ts";
import { benchLease } from "./peers.ts";
import type { Report } from "./report.ts";

/** Leases from here on are in no listing that a benchmark makes. */
const FREE_LEASES = 20_000;

const signal = AbortSignal.timeout(3_600_000);

export interface ListingOptions {
  /** The store, for the figures' names. */
  readonly name: string;
  readonly connect: () => Promise<StoreConnection>;
  /** A network that holds `size` leases. */
  readonly prefix: string;
  readonly size: number;
  readonly rounds: number;
}

/** Lists and decodes leases, on a fresh connection and on one that stands. */
export async function readListings(report: Report, options: ListingOptions): Promise<void> {
  const { name, connect, prefix, size, rounds } = options;
  const fresh: number[] = [];
  const standing: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const connection = await connect();
    const store = connection.network(prefix);
    fresh.push(await milliseconds(() => listAndDecode(store, size)));
    standing.push(await milliseconds(() => listAndDecode(store, size)));
    await connection.close();
  }
  const title = `${name}, ${size} leases listed and decoded`;
  report.figure({ name: `${title}: first time`, unit: "ms", values: fresh.slice(0, 1) });
  report.figure({ name: `${title}: new connection`, unit: "ms", values: fresh.slice(1) });
  report.figure({ name: `${title}: same connection`, unit: "ms", values: standing });
}

async function listAndDecode(store: NetworkStore, size: number): Promise<void> {
  const { entries } = await store.feed.list(signal);
  const leases = entries.map(decodeEntry);
  if (leases.length !== size) throw new Error(`${leases.length} leases instead of ${size}`);
}

/**
 * From a write's begin, and from its acknowledgement, until the watcher of another connection has its
 * message; `restMs` between two writes.
 */
export async function readWays(
  report: Report,
  name: string,
  connect: () => Promise<StoreConnection>,
  rounds: number,
  { prefix = "/coreos.com/network", restMs = 0 } = {},
): Promise<void> {
  const [writing, watching] = [await connect(), await connect()];
  const store = writing.network(prefix);
  const stop = new AbortController();
  const messages = watching.network(prefix).feed.watch(stop.signal)[Symbol.asyncIterator]();
  const fromWrite: number[] = [];
  const fromAnswer: number[] = [];
  try {
    await messages.next();
    for (let round = 0; round < rounds; round += 1) {
      await systemClock.sleep(restMs, signal);
      const startMs = performance.now();
      const message = messages.next().then(() => performance.now());
      await store.leases.create(benchLease(FREE_LEASES + round).key, "{}", Number.POSITIVE_INFINITY, signal);
      const answeredMs = performance.now();
      const toldMs = await message;
      fromWrite.push(toldMs - startMs);
      fromAnswer.push(Math.max(0, toldMs - answeredMs));
    }
  } finally {
    stop.abort();
    await Promise.all([writing.close(), watching.close()]);
  }
  report.figure({ name: `${name}: write begun to message out`, unit: "ms", values: fromWrite });
  report.figure({ name: `${name}: write acknowledged to message out`, unit: "ms", values: fromAnswer });
}

async function milliseconds(action: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await action();
  return performance.now() - startMs;
}
