/**
 * What the conformance suites need of a store: how to start the real one, and how to connect to it.
 *
 * A new store is one file beside this one and one line in all.ts.
 */

import { systemClock } from "../../../ipam/clock.ts";
import { silentLogger } from "../../../ipam/log.ts";
import type { StoreConnection } from "../../../ipam/stores/contracts.ts";
import type { KvHolder } from "../../../ipam/stores/file/key-value.ts";
import { putItem } from "../../../ipam/stores/file/kv-state.ts";
import type { StoreEnvironment } from "../../../ipam/stores/options.ts";

/** A running store with nothing in it. */
export interface RunningStore {
  /** A new connection, as another host would have one. */
  connect(): Promise<StoreConnection>;
  /** Writes a key without tulle, as a person does. */
  put(key: string, value: string): Promise<void>;
  /** Ends the server and removes its files. */
  stop(): Promise<void>;
}

export interface StoreFactory {
  /** For the test's name: the store and its version. */
  readonly name: string;
  /** Null when the store can run here; otherwise why not, for the skip (or the failure where CI is set). */
  missing(): Promise<string | null>;
  /** Bytes of the largest value that the store's own limits allow. */
  readonly largestValue: number;
  /** True when CI must not fail for want of this store. */
  readonly isOptional?: boolean;
  start(): Promise<RunningStore>;
}

/** Writes a key into the state of a store in memory or in a directory. */
export async function putInto(holder: KvHolder, key: string, value: string): Promise<void> {
  await holder.update((state) => putItem(state, key, value, null), AbortSignal.timeout(10_000));
}

/** The edges of a process, for stores in tests. */
export const testEnvironment: StoreEnvironment = {
  log: silentLogger,
  clock: systemClock,
  random: Math.random,
  dateMs: Date.now,
};
