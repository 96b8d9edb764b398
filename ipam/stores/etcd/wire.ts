/**
 * Parts of etcd's messages: ranges, comparisons and entries. Pure.
 */

import type * as Rpc from "etcd3/lib/rpc.js";
import type { StoreEntry } from "../contracts.ts";
import { type Expected, isFolder } from "../key-value.ts";

/** The store lease of a key that has none. */
export const NO_LEASE = "0";

/** End of the range of all keys that begin with `prefix`, which must end in a byte below 255. */
export function rangeEnd(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  const last = end.length - 1;
  end[last] = (end[last] ?? 0) + 1;
  return end;
}

/** The request for one key, or for all keys of a folder. */
export function rangeOf(range: string): Rpc.IRangeRequest {
  const key = Buffer.from(range);
  return isFolder(range) ? { key, range_end: rangeEnd(key) } : { key };
}

/** The smallest range of etcd that holds all of `ranges`. */
export function spanOf(ranges: readonly string[]): { readonly key: Buffer; readonly range_end: Buffer } {
  const starts = ranges.map((range) => Buffer.from(range)).sort(Buffer.compare);
  const ends = ranges.map(endOf).sort(Buffer.compare);
  return { key: starts[0] ?? Buffer.of(), range_end: ends.at(-1) ?? Buffer.of() };
}

function endOf(range: string): Buffer {
  const key = Buffer.from(range);
  return isFolder(range) ? rangeEnd(key) : Buffer.concat([key, Buffer.of(0)]);
}

/**
 * The comparisons of a transaction that writes `key`. A cluster that was restored from a snapshot reuses
 * revisions, but not ids of store leases: both are compared. A key without a store lease has 0.
 */
export function unchangedSince(key: string, expected: Expected | null): Rpc.ICompare[] {
  const common = { key: Buffer.from(key), result: "Equal" as const };
  const mod_revision = String(expected?.revision ?? 0);
  const lease = expected?.storeLeaseId;
  return [
    { ...common, target: "Mod", mod_revision },
    ...(lease === undefined ? [] : [{ ...common, target: "Lease" as const, lease: lease ?? NO_LEASE }]),
  ];
}

export function entryOf(kv: Rpc.IKeyValue): StoreEntry {
  return {
    key: kv.key.toString(),
    value: kv.value.toString(),
    revision: BigInt(kv.mod_revision),
    createRevision: BigInt(kv.create_revision),
    storeLeaseId: kv.lease === NO_LEASE ? null : kv.lease,
  };
}
