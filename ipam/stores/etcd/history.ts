/**
 * What a watcher keeps of the store's history, to detect that the store now has another one.
 *
 * A cluster that was restored from a snapshot continues the snapshot's revisions: the revision at which a watcher wants
 * to resume may exist again with other contents. The newest value, the last deletion and the number of keys tell the two
 * apart.
 */

import type * as Rpc from "etcd3/lib/rpc.js";
import { isInRange } from "../key-value.ts";
import type { EtcdClient } from "./client.ts";
import { isHistoryGone } from "./errors.ts";
import type { EtcdListing } from "./listing.ts";
import { rangeOf } from "./wire.ts";

export class EtcdHistory {
  readonly #ranges: readonly string[];
  #revision: bigint;
  /** How many keys the ranges hold. */
  #count: number;
  /** The newest value that was seen; null before the first. */
  #put: Rpc.IKeyValue | null;
  /** The key of a later deletion. */
  #deleted: Buffer | null = null;

  constructor(ranges: readonly string[], { revision, kvs }: EtcdListing) {
    this.#ranges = ranges;
    this.#revision = revision;
    this.#count = kvs.length;
    this.#put = kvs.reduce<Rpc.IKeyValue | null>(
      (best, kv) => (best !== null && BigInt(best.mod_revision) > BigInt(kv.mod_revision) ? best : kv),
      null,
    );
  }

  /** Everything up to here has been seen. */
  get revision(): bigint {
    return this.#revision;
  }

  /** Adds an event, in the store's order. */
  add(event: Rpc.IEvent): void {
    const { kv } = event;
    const isDeletion = isDelete(event);
    this.#revision = BigInt(kv.mod_revision);
    this.#deleted = isDeletion ? kv.key : null;
    if (!isDeletion) this.#put = kv;
    const key = kv.key.toString();
    if (!this.#ranges.some((range) => isInRange(key, range))) return;
    if (isDeletion) this.#count -= 1;
    else if (kv.create_revision === kv.mod_revision) this.#count += 1;
  }

  /**
   * Compares the store's past with this one; false also when that is compacted. A past revision is the same on every
   * member, so that one member can answer alone while the others elect a leader. A member that is behind asks the
   * others.
   */
  async isStillTrue(client: EtcdClient, signal: AbortSignal): Promise<boolean> {
    return (await this.#isTrueAt(client, true, signal)) || (await this.#isTrueAt(client, false, signal));
  }

  async #isTrueAt(client: EtcdClient, serializable: boolean, signal: AbortSignal): Promise<boolean> {
    const [put, deleted] = [this.#put, this.#deleted];
    const at = { revision: String(this.#revision), serializable };
    // A value that was deleted can be read only at its own revision.
    const putAt = put && deleted?.equals(put.key) ? { ...at, revision: put.mod_revision } : at;
    const ranges: Rpc.IRangeRequest[] = [
      ...this.#ranges.map((range) => ({ ...rangeOf(range), count_only: true, ...at })),
      ...(put ? [{ key: put.key, ...putAt }] : []),
      ...(deleted ? [{ key: deleted, count_only: true, ...at }] : []),
    ];
    try {
      const success = ranges.map((request_range) => ({ request_range }));
      const answer = await client.read("KV", "txn", { success }, signal);
      const found = answer.responses.map((response) => response.response_range);
      const counts = found.splice(0, this.#ranges.length).map(({ count }) => Number(count));
      if (counts.reduce((sum, count) => sum + count, 0) !== this.#count) return false;
      if (put && !isSame(found[0]?.kvs[0], put)) return false;
      return deleted === null || found.at(-1)?.count === "0";
    } catch (error) {
      if (isHistoryGone(error)) return false;
      throw error;
    }
  }
}

/** Ids of store leases are unique: they tell apart a key that another host wrote at the same revision. */
function isSame(found: Rpc.IKeyValue | undefined, seen: Rpc.IKeyValue): boolean {
  return (
    found?.mod_revision === seen.mod_revision && found.lease === seen.lease && found.value.equals(seen.value)
  );
}

/** Whether an event is a deletion; etcd3 types the names otherwise than gRPC gives them. */
export function isDelete(event: Rpc.IEvent): boolean {
  return String(event.type).toUpperCase() === "DELETE";
}
