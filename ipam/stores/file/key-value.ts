/**
 * The KeyValue on top of anything that can hold one KvState and swap it atomically: compare-and-swap, expiry, listings
 * and watches. What holds the state, and how other processes see it, is the holder's part.
 */

import { randomUUID } from "node:crypto";
import type { Clock } from "../../clock.ts";
import { StoreError } from "../../errors.ts";
import { changedKeys } from "../changed-keys.ts";
import type { EntryChange, NetworkStore, StoreEntry, StoreHealth } from "../contracts.ts";
import { healedWatch } from "../healed-watch.ts";
import { type Expected, isInRange, type KeyListing, type KeyMessage, type KeyValue } from "../key-value.ts";
import { layoutOf } from "../layout.ts";
import { networkOver } from "../network-store.ts";
import type { StoreEnvironment } from "../options.ts";
import {
  deleteItem,
  expireItems,
  extendLease,
  type KvItem,
  type KvLease,
  type KvState,
  nextDeadlineMs,
  putItem,
} from "./kv-state.ts";

/** Holds one state that several stores, or several processes, share. */
export interface KvHolder {
  /** The newest state. */
  read(signal: AbortSignal): Promise<KvState>;
  /**
   * Swaps the state for `change` of it, atomically, and returns the new state. `change` may run several times; what it
   * throws is thrown on and nothing is written. The same object back writes nothing.
   */
  update(change: (state: KvState) => KvState, signal: AbortSignal): Promise<KvState>;
  /** Resolves once the state may differ from `seen`, or after `timeoutMs` (may be Infinity). */
  waitForChange(seen: KvState, timeoutMs: number, signal: AbortSignal): Promise<void>;
}

/** The network under `prefix` in the state of `holder`. */
export function embeddedNetwork(
  kind: string,
  prefix: string,
  holder: KvHolder,
  environment: StoreEnvironment,
): NetworkStore {
  const description = `${kind} ${prefix}`;
  const keys = new EmbeddedKeyValue(holder, environment, description);
  return networkOver(keys, layoutOf(prefix), description);
}

class EmbeddedKeyValue implements KeyValue {
  readonly roundTripMs = null;
  readonly #holder: KvHolder;
  readonly #environment: StoreEnvironment;
  readonly #clock: Clock;
  readonly #description: string;

  constructor(holder: KvHolder, environment: StoreEnvironment, description: string) {
    this.#holder = holder;
    this.#environment = environment;
    this.#clock = environment.clock;
    this.#description = description;
  }

  async read(key: string, signal: AbortSignal): Promise<StoreEntry | null> {
    const item = (await this.#liveState(signal)).items.get(key);
    return item ? entryOf(key, item) : null;
  }

  async list(ranges: readonly string[], signal: AbortSignal): Promise<KeyListing> {
    return listing(await this.#liveState(signal), ranges);
  }

  async listCreatedAfter(folder: string, revision: bigint, signal: AbortSignal): Promise<StoreEntry[]> {
    const { entries } = listing(await this.#liveState(signal), [folder]);
    return entries.filter((entry) => entry.createRevision > revision);
  }

  async write(
    key: string,
    value: string,
    expected: Expected | null,
    ttlSeconds: number | null,
    signal: AbortSignal,
  ): Promise<StoreEntry | null> {
    const lease = this.#newLease(ttlSeconds ?? Number.POSITIVE_INFINITY);
    let isAsExpected = false;
    const state = await this.#update((before) => {
      const item = before.items.get(key);
      isAsExpected = isSame(item, expected);
      if (!isAsExpected) return before;
      return putItem(before, key, value, ttlSeconds === null ? (item?.lease ?? null) : lease);
    }, signal);
    const item = state.items.get(key);
    return isAsExpected && item ? entryOf(key, item) : null;
  }

  async extend({ key, storeLeaseId }: StoreEntry, signal: AbortSignal): Promise<number | null> {
    let ttlSeconds: number | null = null;
    await this.#update((before) => {
      const lease = before.items.get(key)?.lease;
      ttlSeconds = lease?.id === storeLeaseId ? (lease?.ttlSeconds ?? null) : null;
      return ttlSeconds === null ? before : extendLease(before, key, this.#deadlineMs(ttlSeconds));
    }, signal);
    return ttlSeconds;
  }

  async delete(entry: StoreEntry, signal: AbortSignal): Promise<boolean> {
    const { key } = entry;
    let isGone = false;
    await this.#update((before) => {
      const item = before.items.get(key);
      isGone = item === undefined || isSame(item, entry);
      return isGone ? deleteItem(before, key) : before;
    }, signal);
    return isGone;
  }

  watch(
    ranges: readonly string[],
    signal: AbortSignal,
    onHealth?: (health: StoreHealth) => void,
  ): AsyncIterable<KeyMessage> {
    const options = { ...this.#environment, description: this.#description, onHealth };
    return healedWatch(() => this.#follow(ranges, signal), options, signal);
  }

  async *#follow(ranges: readonly string[], signal: AbortSignal): AsyncGenerator<KeyMessage> {
    let held = await this.#holder.read(signal);
    let seen = await this.#live(held, signal);
    yield { type: "list", ...listing(seen, ranges) };
    while (true) {
      const timeoutMs = Math.max(0, nextDeadlineMs(seen) - this.#clock.monotonicMs());
      await this.#holder.waitForChange(held, timeoutMs, signal);
      held = await this.#holder.read(signal);
      const state = await this.#live(held, signal);
      const message = difference(seen, state, ranges);
      seen = state;
      if (message) yield message;
    }
  }

  /** The newest state, without what has expired. */
  async #liveState(signal: AbortSignal): Promise<KvState> {
    return await this.#live(await this.#holder.read(signal), signal);
  }

  /** Any participant writes an expiry for all. Where that fails, on a full disk, reads still succeed. */
  async #live(state: KvState, signal: AbortSignal): Promise<KvState> {
    if (nextDeadlineMs(state) > this.#clock.monotonicMs()) return state;
    try {
      return await this.#update((before) => before, signal);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      return expireItems(state, this.#clock.monotonicMs());
    }
  }

  async #update(change: (state: KvState) => KvState, signal: AbortSignal): Promise<KvState> {
    return await this.#holder.update(
      (state) => change(expireItems(state, this.#clock.monotonicMs())),
      signal,
    );
  }

  #newLease(ttlSeconds: number): KvLease | null {
    if (ttlSeconds === Number.POSITIVE_INFINITY) return null;
    return { id: randomUUID(), ttlSeconds, deadlineMs: this.#deadlineMs(ttlSeconds) };
  }

  #deadlineMs(ttlSeconds: number): number {
    return this.#clock.monotonicMs() + ttlSeconds * 1000;
  }
}

/** A state that was restored from a backup gives revisions out again, but never ids of leases. */
function isSame(item: KvItem | undefined, expected: Expected | null): boolean {
  if (item?.revision !== expected?.revision) return false;
  const id = expected?.storeLeaseId;
  return id === undefined || (item?.lease?.id ?? null) === id;
}

function listing(state: KvState, ranges: readonly string[]): KeyListing {
  const entries: StoreEntry[] = [];
  for (const [key, item] of state.items) if (isInAny(key, ranges)) entries.push(entryOf(key, item));
  return { revision: state.revision, entries };
}

/** The message for a watcher that saw `before`; a revision that went back is a gap. */
function difference(before: KvState, after: KvState, ranges: readonly string[]): KeyMessage | null {
  if (after.revision < before.revision) return { type: "list", ...listing(after, ranges) };
  const keys = changedKeys(before.items, after.items).filter((key) => isInAny(key, ranges));
  const changes = keys.map((key): EntryChange => {
    const item = after.items.get(key);
    return item
      ? { type: "put", entry: entryOf(key, item) }
      : { type: "delete", key, revision: after.revision };
  });
  return changes.length === 0 ? null : { type: "changes", revision: after.revision, changes };
}

function isInAny(key: string, ranges: readonly string[]): boolean {
  return ranges.some((range) => isInRange(key, range));
}

function entryOf(key: string, item: KvItem): StoreEntry {
  const { value, revision, createRevision } = item;
  return { key, value, revision, createRevision, storeLeaseId: item.lease?.id ?? null };
}
