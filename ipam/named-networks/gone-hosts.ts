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
import { HOSTS_FOLDER, parseHostRecord } from "./record-names.ts";

/** Those of `hosts` that are gone. A lease that cannot be read may be any host's. Throws StoreError. */
export async function goneAmong(
  { records, feed }: Pick<NetworkStore, "feed" | "records">,
  hosts: Iterable<HostId>,
  signal: AbortSignal,
): Promise<ReadonlySet<HostId>> {
  const [entries, leases] = await Promise.all([records.list(HOSTS_FOLDER, signal), feed.list(signal)]);
  const here = new Set<string | null>(entries.map(({ key }) => parseHostRecord(key)));
  for (const entry of leases.entries) {
    const owner = ownerOf(entry);
    if (owner === "unreadable") return new Set();
    here.add(owner);
  }
  return new Set([...hosts].filter((host) => !here.has(host)));
}

/** True when the host is gone. Throws StoreError. */
export async function isHostGone(
  store: Pick<NetworkStore, "feed" | "records">,
  host: HostId,
  signal: AbortSignal,
): Promise<boolean> {
  return (await goneAmong(store, [host], signal)).has(host);
}

/** The node id in a lease; null for one of another agent. */
function ownerOf(entry: StoreEntry): string | null {
  try {
    return decodeEntry(entry).attrs.nodeId;
  } catch (error) {
    if (error instanceof CodecError) return "unreadable";
    throw error;
  }
}
