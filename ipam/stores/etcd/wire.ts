/**
 * Small forms of etcd's messages: ranges, comparisons and entries. Pure.
 */

import type * as Rpc from "etcd3/lib/rpc.js";
import type { StoreEntry } from "../store.ts";

/** End of the range of all keys that begin with `prefix`, which must end in a byte below 255. */
export function rangeEnd(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  const last = end.length - 1;
  end[last] = (end[last] ?? 0) + 1;
  return end;
}

export function rangeOf(folder: string): Rpc.IRangeRequest {
  const key = Buffer.from(folder);
  return { key, range_end: rangeEnd(key) };
}

/** A key as a write expects to find it; null when it must be absent. */
export type Expected = { readonly revision: bigint; readonly storeLeaseId?: string | null } | null;

/**
 * The comparisons of a transaction that writes `key`. A cluster that was restored from a snapshot gives revisions
 * out again, but never a store lease's id: of keys with one both are compared.
 */
export function unchangedSince(key: string, expected: Expected): Rpc.ICompare[] {
  const common = { key: Buffer.from(key), result: "Equal" as const };
  const mod_revision = String(expected?.revision ?? 0);
  const lease = expected?.storeLeaseId;
  return [
    { ...common, target: "Mod", mod_revision },
    ...(lease ? [{ ...common, target: "Lease" as const, lease }] : []),
  ];
}

export function entryOf(kv: Rpc.IKeyValue, folder: string): StoreEntry {
  return {
    key: kv.key.toString("utf8", Buffer.byteLength(folder)),
    value: kv.value.toString(),
    revision: BigInt(kv.mod_revision),
    createRevision: BigInt(kv.create_revision),
    storeLeaseId: kv.lease === "0" ? null : kv.lease,
  };
}
