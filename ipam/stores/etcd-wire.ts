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

/** `key` is unchanged since `revision`; 0 means that it is absent. */
export function unchangedSince(key: string, revision: bigint): Rpc.ICompare {
  return { key: Buffer.from(key), target: "Mod", result: "Equal", mod_revision: String(revision) };
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
