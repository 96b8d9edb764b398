/**
 * A whole key-value store as one immutable value, with revisions and leases like etcd's.
 *
 * Pure: the file store keeps the value in a file, the memory store of the tests in a variable. No clocks and no I/O here.
 */

/** The lease attached to one key. */
export interface KvLease {
  readonly id: string;
  readonly ttlSeconds: number;
  /** Milliseconds on the machine's monotonic clock. */
  readonly deadlineMs: number;
}

export interface KvItem {
  readonly value: string;
  readonly revision: bigint;
  readonly createRevision: bigint;
  readonly lease: KvLease | null;
}

export interface KvState {
  readonly revision: bigint;
  readonly items: ReadonlyMap<string, KvItem>;
}

export const emptyState: KvState = { revision: 0n, items: new Map() };

/** The state after `key` was written at a new revision. */
export function putItem(state: KvState, key: string, value: string, lease: KvLease | null): KvState {
  const revision = state.revision + 1n;
  const createRevision = state.items.get(key)?.createRevision ?? revision;
  const items = new Map(state.items).set(key, { value, revision, createRevision, lease });
  return { revision, items };
}

/** The state after `key` was deleted at a new revision; the same state when it was absent. */
export function deleteItem(state: KvState, key: string): KvState {
  if (!state.items.has(key)) return state;
  const items = new Map(state.items);
  items.delete(key);
  return { revision: state.revision + 1n, items };
}

/** The state with a new deadline for the lease of `key`; no new revision, because no value changed. */
export function extendLease(state: KvState, key: string, deadlineMs: number): KvState {
  const item = state.items.get(key);
  if (!item?.lease) return state;
  const lease = { ...item.lease, deadlineMs };
  return { revision: state.revision, items: new Map(state.items).set(key, { ...item, lease }) };
}

/** The state without the items whose lease ended by `nowMs`; the same state when there is none. */
export function expireItems(state: KvState, nowMs: number): KvState {
  const items = new Map(state.items);
  for (const [key, item] of state.items) {
    if (item.lease && item.lease.deadlineMs <= nowMs) items.delete(key);
  }
  return items.size === state.items.size ? state : { revision: state.revision + 1n, items };
}

/** The state with every lease at its full length again, counted from `nowMs`. */
export function restartLeases(state: KvState, nowMs: number): KvState {
  const items = new Map<string, KvItem>();
  for (const [key, item] of state.items) {
    const lease = item.lease && { ...item.lease, deadlineMs: nowMs + item.lease.ttlSeconds * 1000 };
    items.set(key, { ...item, lease });
  }
  return { revision: state.revision, items };
}

/** The moment at which the next item expires, Infinity when none does. */
export function nextDeadlineMs(state: KvState): number {
  let earliestMs = Number.POSITIVE_INFINITY;
  for (const { lease } of state.items.values()) {
    if (lease && lease.deadlineMs < earliestMs) earliestMs = lease.deadlineMs;
  }
  return earliestMs;
}
