/**
 * What a watcher remembers of the store's history, so that it notices when the history is no longer the same.
 *
 * A cluster that was restored from a snapshot counts its revisions on from the snapshot: the number at which a
 * watcher wants to resume may exist again and mean something else. The last change and the number of leases at that
 * revision tell the two apart.
 */

import type * as Rpc from "etcd3/lib/rpc.js";
import type { StoreListing } from "../store.ts";
import type { EtcdClient } from "./etcd-client.ts";
import { isHistoryGone } from "./etcd-errors.ts";
import { rangeOf } from "./etcd-wire.ts";
import type { Layout } from "./layout.ts";

/** The last thing that happened to a key; `modified` is null for a deletion. */
interface LastChange {
  readonly key: Buffer;
  readonly modified: string | null;
}

export class EtcdHistory {
  readonly #layout: Layout;
  #revision: bigint;
  #leases: number;
  #last: LastChange | null;

  constructor(layout: Layout, listing: StoreListing) {
    const newest = listing.entries.reduce<StoreListing["entries"][number] | null>(
      (best, entry) => (best !== null && best.revision > entry.revision ? best : entry),
      null,
    );
    this.#layout = layout;
    this.#revision = listing.revision;
    this.#leases = listing.entries.length;
    this.#last = newest && {
      key: Buffer.from(layout.subnets + newest.key),
      modified: String(newest.revision),
    };
  }

  /** Everything up to here has been seen. */
  get revision(): bigint {
    return this.#revision;
  }

  /** Takes note of an event, in the store's order. */
  add(event: Rpc.IEvent): void {
    const { key, mod_revision, create_revision } = event.kv;
    const isDeletion = isDelete(event);
    this.#revision = BigInt(mod_revision);
    this.#last = { key, modified: isDeletion ? null : mod_revision };
    if (!key.toString().startsWith(this.#layout.subnets)) return;
    if (isDeletion) this.#leases -= 1;
    else if (create_revision === mod_revision) this.#leases += 1;
  }

  /**
   * Asks whether the store's state at our revision is what we saw; false also when that is compacted. A past
   * revision is the same on every member, so the one we are at may answer alone: the others may be busy with an
   * election. A member that has not come as far as we have asks the others.
   */
  async isStillTrue(client: EtcdClient, signal: AbortSignal): Promise<boolean> {
    return (await this.#isTrueAt(client, true, signal)) || (await this.#isTrueAt(client, false, signal));
  }

  async #isTrueAt(client: EtcdClient, serializable: boolean, signal: AbortSignal): Promise<boolean> {
    const at = { revision: String(this.#revision), serializable };
    const leases = { ...rangeOf(this.#layout.subnets), count_only: true, ...at };
    const last = this.#last ? [{ request_range: { key: this.#last.key, keys_only: true, ...at } }] : [];
    try {
      const success = [{ request_range: leases }, ...last];
      const answer = await client.read("KV", "txn", { success }, signal);
      const [counted, found] = answer.responses.map((response) => response.response_range);
      if (Number(counted?.count) !== this.#leases) return false;
      return this.#last === null || (found?.kvs[0]?.mod_revision ?? null) === this.#last.modified;
    } catch (error) {
      if (isHistoryGone(error)) return false;
      throw error;
    }
  }
}

/** Whether an event is a deletion; etcd3 types the names otherwise than gRPC gives them. */
export function isDelete(event: Rpc.IEvent): boolean {
  return String(event.type).toUpperCase() === "DELETE";
}
