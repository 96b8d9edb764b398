/**
 * What a store has to implement: compare-and-swap of keys, ranges of keys at one revision, and a watch of ranges.
 *
 * The contracts of a network are built on it once for all stores (network-store.ts). Keys are whole keys here. A range
 * is one key, or all keys that begin with a folder, whose name ends in a slash. Pure types and text.
 */

import type { EntryChange, StoreEntry, StoreHealth } from "./contracts.ts";

export interface KeyListing {
  /** The revision at which the first range is complete. */
  readonly revision: bigint;
  readonly entries: readonly StoreEntry[];
}

export type KeyMessage =
  | ({ readonly type: "list" } & KeyListing)
  | { readonly type: "changes"; readonly revision: bigint; readonly changes: readonly EntryChange[] };

/** A key as a write expects to find it; null when it must be absent. */
export type Expected = Pick<StoreEntry, "revision"> & Partial<StoreEntry>;

export interface KeyValue {
  /** Of a round trip to the server; null for local stores, and while nothing is measured. */
  readonly roundTripMs: number | null;

  /** The newest value of a key, null when absent. */
  read(key: string, signal: AbortSignal): Promise<StoreEntry | null>;

  list(ranges: readonly string[], signal: AbortSignal): Promise<KeyListing>;

  /** Keys of a folder that were created after `revision`. */
  listCreatedAfter(folder: string, revision: bigint, signal: AbortSignal): Promise<readonly StoreEntry[]>;

  /**
   * Writes the key if it is as expected; null otherwise. `ttlSeconds` attaches a new store lease, Infinity none, null
   * keeps the one that is attached. A store lease that no key needs any more is given back.
   */
  write(
    key: string,
    value: string,
    expected: Expected | null,
    ttlSeconds: number | null,
    signal: AbortSignal,
  ): Promise<StoreEntry | null>;

  /** Extends the store lease of the entry and returns its seconds; null when it has ended. */
  extend(entry: StoreEntry & { readonly storeLeaseId: string }, signal: AbortSignal): Promise<number | null>;

  /** Deletes the key if it is unchanged since it was read; false when it changed, true when it is absent. */
  delete(entry: StoreEntry, signal: AbortSignal): Promise<boolean>;

  /** A listing of the ranges, then changes, as LeaseFeed.watch. */
  watch(
    ranges: readonly string[],
    signal: AbortSignal,
    onHealth?: (health: StoreHealth) => void,
  ): AsyncIterable<KeyMessage>;
}

export function isFolder(range: string): boolean {
  return range.endsWith("/");
}

export function isInRange(key: string, range: string): boolean {
  return isFolder(range) ? key.startsWith(range) : key === range;
}
