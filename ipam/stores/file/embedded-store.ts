/**
 * The SubnetStore on top of anything that can hold one KvState and swap it atomically.
 *
 * Everything that makes a lease store lives here: compare-and-swap, expiry, listings and watches. What holds
 * the state, and how other processes see it, is the holder's affair.
 */

import { randomUUID } from "node:crypto";
import type { Clock } from "../../clock.ts";
import { StoreError } from "../../errors.ts";
import { changedMeanwhile, leaseChanged, leaseGone, subnetTaken } from "../answers.ts";
import { changedKeys } from "../changed-keys.ts";
import { healedWatch } from "../healed-watch.ts";
import { type Layout, layoutOf, recordKey } from "../layout.ts";
import type { StoreEnvironment } from "../options.ts";
import type {
  ConfigEntry,
  StoreChange,
  StoreEntry,
  StoreHealth,
  StoreListing,
  StoreMessage,
  SubnetStore,
} from "../store.ts";
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
   * Swaps the state for `change` of it, atomically, and returns what `change` made. It may run several times;
   * what it throws is thrown on and nothing is written. The same object back writes nothing.
   */
  update(change: (state: KvState) => KvState, signal: AbortSignal): Promise<KvState>;
  /** Resolves once the state may differ from `seen`, or after `timeoutMs` (may be Infinity). */
  waitForChange(seen: KvState, timeoutMs: number, signal: AbortSignal): Promise<void>;
}

export class EmbeddedStore implements SubnetStore {
  readonly description: string;
  readonly #holder: KvHolder;
  readonly #environment: StoreEnvironment;
  readonly #clock: Clock;
  readonly #layout: Layout;

  constructor(options: {
    readonly kind: string;
    readonly prefix: string;
    readonly holder: KvHolder;
    readonly environment: StoreEnvironment;
  }) {
    this.description = `${options.kind} ${options.prefix}`;
    this.#holder = options.holder;
    this.#environment = options.environment;
    this.#clock = options.environment.clock;
    this.#layout = layoutOf(options.prefix);
  }

  async list(signal: AbortSignal): Promise<StoreListing> {
    return this.#listing(await this.#liveState(signal));
  }

  async listCreatedAfter(revision: bigint, signal: AbortSignal): Promise<readonly StoreEntry[]> {
    const state = await this.#liveState(signal);
    return entriesIn(state, this.#layout.subnets).filter((entry) => entry.createRevision > revision);
  }

  watch(signal: AbortSignal, onHealth?: (health: StoreHealth) => void): AsyncIterable<StoreMessage> {
    return healedWatch(
      () => this.#follow(signal),
      { ...this.#environment, description: this.description, onHealth },
      signal,
    );
  }

  async *#follow(signal: AbortSignal): AsyncGenerator<StoreMessage> {
    let held = await this.#holder.read(signal);
    let seen = await this.#live(held, signal);
    yield { type: "list", ...this.#listing(seen) };
    while (true) {
      const timeoutMs = Math.max(0, nextDeadlineMs(seen) - this.#clock.monotonicMs());
      await this.#holder.waitForChange(held, timeoutMs, signal);
      held = await this.#holder.read(signal);
      const state = await this.#live(held, signal);
      const message = this.#difference(seen, state);
      seen = state;
      if (message) yield message;
    }
  }

  async create(key: string, value: string, ttlSeconds: number, signal: AbortSignal): Promise<StoreEntry> {
    const fullKey = this.#layout.subnets + key;
    const lease = this.#newLease(ttlSeconds);
    const state = await this.#update((before) => {
      if (before.items.has(fullKey)) throw subnetTaken(key);
      return putItem(before, fullKey, value, lease);
    }, signal);
    return entryAt(state, this.#layout.subnets, key);
  }

  async replace(
    entry: StoreEntry,
    value: string,
    ttlSeconds: number | null,
    signal: AbortSignal,
  ): Promise<StoreEntry> {
    const fullKey = this.#layout.subnets + entry.key;
    const fresh = ttlSeconds === null ? null : this.#newLease(ttlSeconds);
    const state = await this.#update((before) => {
      const item = unchangedItem(before, fullKey, entry);
      return putItem(before, fullKey, value, ttlSeconds === null ? item.lease : fresh);
    }, signal);
    return entryAt(state, this.#layout.subnets, entry.key);
  }

  async keepAlive(entry: StoreEntry, signal: AbortSignal): Promise<number> {
    if (entry.storeLeaseId === null) return Number.POSITIVE_INFINITY;
    const fullKey = this.#layout.subnets + entry.key;
    let ttlSeconds = 0;
    await this.#update((before) => {
      const lease = before.items.get(fullKey)?.lease;
      if (lease?.id !== entry.storeLeaseId) throw leaseGone(entry.key);
      ttlSeconds = lease.ttlSeconds;
      return extendLease(before, fullKey, this.#deadlineMs(ttlSeconds));
    }, signal);
    return ttlSeconds;
  }

  async remove(entry: StoreEntry, signal: AbortSignal): Promise<void> {
    const fullKey = this.#layout.subnets + entry.key;
    await this.#update((before) => {
      if (!before.items.has(fullKey)) return before;
      unchangedItem(before, fullKey, entry);
      return deleteItem(before, fullKey);
    }, signal);
  }

  async readConfig(signal: AbortSignal): Promise<ConfigEntry | null> {
    const item = (await this.#liveState(signal)).items.get(this.#layout.config);
    return item ? { text: item.value, revision: item.revision } : null;
  }

  async writeConfig(text: string, expected: ConfigEntry | null, signal: AbortSignal): Promise<ConfigEntry> {
    const item = await this.#swap(this.#layout.config, text, expected, signal);
    return { text, revision: item.revision };
  }

  async listRecords(folder: string, signal: AbortSignal): Promise<readonly StoreEntry[]> {
    const entries = entriesIn(await this.#liveState(signal), this.#layout.records);
    return entries.filter((entry) => entry.key.startsWith(folder));
  }

  async readRecord(name: string, signal: AbortSignal): Promise<StoreEntry | null> {
    const item = (await this.#liveState(signal)).items.get(recordKey(this.#layout, name));
    return item ? entryOf(name, item) : null;
  }

  async writeRecord(
    name: string,
    value: string,
    expected: StoreEntry | null,
    signal: AbortSignal,
  ): Promise<StoreEntry> {
    return entryOf(name, await this.#swap(recordKey(this.#layout, name), value, expected, signal));
  }

  async removeRecord(entry: StoreEntry, signal: AbortSignal): Promise<void> {
    const fullKey = recordKey(this.#layout, entry.key);
    await this.#update((before) => {
      const item = before.items.get(fullKey);
      if (!item) return before;
      if (item.revision !== entry.revision) throw changedMeanwhile(fullKey);
      return deleteItem(before, fullKey);
    }, signal);
  }

  /** The newest state, without what has expired. */
  async #liveState(signal: AbortSignal): Promise<KvState> {
    return await this.#live(await this.#holder.read(signal), signal);
  }

  /** Any participant writes an expiry down for all. Where that fails, on a full disk, reading still goes on. */
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

  async #swap(
    fullKey: string,
    value: string,
    expected: { readonly revision: bigint } | null,
    signal: AbortSignal,
  ): Promise<KvItem> {
    const state = await this.#update((before) => {
      if (before.items.get(fullKey)?.revision !== expected?.revision) throw changedMeanwhile(fullKey);
      return putItem(before, fullKey, value, null);
    }, signal);
    return itemAt(state, fullKey);
  }

  #newLease(ttlSeconds: number): KvLease | null {
    if (ttlSeconds === Number.POSITIVE_INFINITY) return null;
    return { id: randomUUID(), ttlSeconds, deadlineMs: this.#deadlineMs(ttlSeconds) };
  }

  #deadlineMs(ttlSeconds: number): number {
    return this.#clock.monotonicMs() + ttlSeconds * 1000;
  }

  #listing(state: KvState): StoreListing {
    return {
      revision: state.revision,
      entries: entriesIn(state, this.#layout.subnets),
      config: state.items.get(this.#layout.config)?.value ?? null,
    };
  }

  /** What a watcher that saw `before` must hear; a revision that went back is a gap. */
  #difference(before: KvState, after: KvState): StoreMessage | null {
    if (after.revision < before.revision) return { type: "list", ...this.#listing(after) };
    const changes = changedKeys(before.items, after.items).flatMap((key) => this.#change(key, after));
    return changes.length === 0 ? null : { type: "changes", revision: after.revision, changes };
  }

  #change(fullKey: string, after: KvState): StoreChange[] {
    const item = after.items.get(fullKey);
    const revision = item?.revision ?? after.revision;
    if (fullKey === this.#layout.config) return [{ type: "config", value: item?.value ?? null, revision }];
    if (!fullKey.startsWith(this.#layout.subnets)) return [];
    const key = fullKey.slice(this.#layout.subnets.length);
    return [item ? { type: "put", entry: entryOf(key, item) } : { type: "delete", key, revision }];
  }
}

function entriesIn(state: KvState, folder: string): StoreEntry[] {
  const entries: StoreEntry[] = [];
  for (const [key, item] of state.items) {
    if (key.startsWith(folder)) entries.push(entryOf(key.slice(folder.length), item));
  }
  return entries;
}

function entryAt(state: KvState, folder: string, key: string): StoreEntry {
  return entryOf(key, itemAt(state, folder + key));
}

/** The item that an update has just written. */
function itemAt(state: KvState, fullKey: string): KvItem {
  const item = state.items.get(fullKey);
  if (!item) throw new TypeError(`the update returned a state without ${fullKey}`);
  return item;
}

function entryOf(key: string, item: KvItem): StoreEntry {
  const { value, revision, createRevision } = item;
  return { key, value, revision, createRevision, storeLeaseId: item.lease?.id ?? null };
}

function unchangedItem(state: KvState, fullKey: string, entry: StoreEntry): KvItem {
  const item = state.items.get(fullKey);
  if (!item) throw leaseGone(entry.key);
  if (item.revision !== entry.revision) throw leaseChanged(entry.key);
  return item;
}
