/**
 * What the conformance suite needs of a store: how to start the real one, and how to connect to it.
 *
 * A new store is one file beside this one and one line in all.ts.
 */

import { systemClock } from "../../../ipam/clock.ts";
import { silentLogger } from "../../../ipam/log.ts";
import type { StoreConnection } from "../../../ipam/stores/contracts.ts";
import type { StoreEnvironment } from "../../../ipam/stores/options.ts";

/** A running store with nothing in it. */
export interface RunningStore {
  /** A new connection, as another host would have one. */
  connect(): Promise<StoreConnection>;
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

/** The edges of a process, for stores in tests. */
export const testEnvironment: StoreEnvironment = {
  log: silentLogger,
  clock: systemClock,
  random: Math.random,
  dateMs: Date.now,
};
