/**
 * What crosses from the leases to the planner: who is a peer, as values that do not change afterwards.
 *
 * Only a table that the store has been listed into gives one out, so that nothing is deleted for want of a listing.
 */

import type { Lease, LeaseKey } from "./lease.ts";
import type { PeerTable } from "./peer-table.ts";

/** Other modules cannot name it, and so cannot make an update. */
const LISTED = Symbol("listed");

/** Immutable. Each update builds on the one before. */
export interface PeerUpdate {
  readonly [LISTED]: true;
  /** `whole`: these are all peers. `delta`: these came, changed or, with null, went. */
  readonly type: "whole" | "delta";
  readonly peers: ReadonlyMap<LeaseKey, Lease | null>;
}

export class PeerUpdates {
  readonly #table: Pick<PeerTable, "isSynced" | "peers" | "takeChanged">;
  #isFirst = true;

  constructor(table: Pick<PeerTable, "isSynced" | "peers" | "takeChanged">) {
    this.#table = table;
  }

  /** All peers at the first call, what changed since the last one from then on; null before the store was listed. */
  take(): PeerUpdate | null {
    const { isSynced, peers } = this.#table;
    if (!isSynced) return null;
    const changed = this.#table.takeChanged();
    if (!this.#isFirst)
      return update(
        "delta",
        [...changed].map((key) => [key, peers.get(key) ?? null]),
      );
    this.#isFirst = false;
    return update("whole", peers);
  }
}

function update(type: PeerUpdate["type"], peers: Iterable<readonly [LeaseKey, Lease | null]>): PeerUpdate {
  return { [LISTED]: true, type, peers: new Map(peers) };
}
