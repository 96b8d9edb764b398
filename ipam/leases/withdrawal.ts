/** Deletes a lease for good: peers then remove its host at once, instead of after the leave grace. */

import type { LeaseKeys, StoreEntry } from "../stores/contracts.ts";
import { markLeaving } from "./lease-codec.ts";

/**
 * Marks the lease as given up, and deletes it. Two writes, because a watcher learns of a deletion without the value.
 * Throws LeaseLostError when the lease changes meanwhile, CodecError when the value is not a lease's.
 */
export async function withdrawLease(
  leases: Pick<LeaseKeys, "replace" | "remove">,
  entry: StoreEntry,
  signal: AbortSignal,
): Promise<void> {
  const marked = await leases.replace(entry, markLeaving(entry.value), null, signal);
  await leases.remove(marked, signal);
}
