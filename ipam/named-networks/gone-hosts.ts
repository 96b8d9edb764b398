/**
 * Proof that a host does not come back as it was: it has neither a record of its own nor a lease in the network.
 *
 * A lease outlives its host's daemon by a day (flannel's --subnet-lease-ttl), and when it ends, the host's whole subnet
 * is given to another. Its addresses in named networks follow the same rule. A reservation never ends.
 */

import { CodecError } from "../errors.ts";
import { decodeEntry } from "../leases/lease-codec.ts";
import type { NetworkStore, StoreEntry } from "../stores/contracts.ts";
import type { HostId } from "./named-network.ts";
import { hostRecord } from "./record-names.ts";

/** True when the host is gone. Throws StoreError. A lease that cannot be read may be the host's. */
export async function isHostGone(
  store: Pick<NetworkStore, "feed" | "records">,
  host: HostId,
  signal: AbortSignal,
): Promise<boolean> {
  const [record, { entries }] = await Promise.all([
    store.records.read(hostRecord(host), signal),
    store.feed.list(signal),
  ]);
  return record === null && !entries.some((entry) => mayBelongTo(entry, host));
}

function mayBelongTo(entry: StoreEntry, host: HostId): boolean {
  try {
    return decodeEntry(entry).attrs.nodeId === host;
  } catch (error) {
    if (error instanceof CodecError) return true;
    throw error;
  }
}
