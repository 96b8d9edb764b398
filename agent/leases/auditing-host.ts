/** Reads what an audit needs to know of the host that makes it. Changes nothing and needs no privilege. */

import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import type { Address } from "../../ipam/addresses/ip.ts";
import type { Lease } from "../../ipam/leases/lease.ts";
import { decodeEntry } from "../../ipam/leases/lease-codec.ts";
import type { StoreEntry, StoreListing } from "../../ipam/stores/contracts.ts";
import { readIdentity } from "../cleanup/host-state.ts";
import { takeHostSnapshot } from "../host/host-facts.ts";
import { localPrefixes } from "../host/local-prefixes.ts";
import type { AuditingHost } from "./lease-audit.ts";

/**
 * This host as a member of the network, by the node id in the state directory or by its public address; null when the
 * listing has no lease of it. `store` are the store's addresses. Throws CodecError for a damaged identity, and
 * NetlinkError.
 */
export async function readAuditingHost(
  stateDir: string,
  { entries }: StoreListing,
  store: readonly Address[],
): Promise<AuditingHost | null> {
  const nodeId = (await readIdentity(stateDir))?.nodeId ?? null;
  const connection = NetlinkConnection.open();
  try {
    const snapshot = takeHostSnapshot(connection);
    const isHere = (address: Address): boolean =>
      snapshot.addresses.some((one) => one.address.equals(address));
    const own =
      find(entries, ({ attrs }) => nodeId !== null && attrs.nodeId === nodeId) ??
      find(entries, ({ attrs }) => Object.values(attrs.publicAddress).some(isHere));
    return own === undefined ? null : { own, local: localPrefixes(snapshot, store) };
  } finally {
    connection.close();
  }
}

function find(entries: readonly StoreEntry[], isOwn: (lease: Lease) => boolean): Lease | undefined {
  for (const entry of entries) {
    try {
      const lease = decodeEntry(entry);
      if (isOwn(lease)) return lease;
    } catch {
      // the audit reports it
    }
  }
  return undefined;
}
