/** Deletes a lease for good: peers then remove its host at once, instead of after the leave grace. */

import { CodecError, LeaseLostError } from "../errors.ts";
import type { LeaseKeys, StoreEntry } from "../stores/contracts.ts";
import { markLeaving } from "./lease-codec.ts";

/**
 * Marks the lease as given up, and deletes it. Two writes, because a watcher learns of a deletion without the value.
 * Throws LeaseLostError when the lease has changed, also when its host put its own value back between the two.
 */
export async function withdrawLease(
  leases: Pick<LeaseKeys, "replace" | "remove">,
  entry: StoreEntry,
  signal: AbortSignal,
): Promise<void> {
  const value = markedValue(entry);
  // A value that cannot be read has no peers to tell.
  const marked = value === null ? entry : await leases.replace(entry, value, null, signal);
  try {
    await leases.remove(marked, signal);
  } catch (error) {
    if (!(error instanceof LeaseLostError)) throw error;
    throw new LeaseLostError(
      `lease ${entry.key} changed while it was deleted; stop its host's daemon and try again`,
      { cause: error, details: { key: entry.key } },
    );
  }
}

function markedValue({ value }: StoreEntry): string | null {
  try {
    return markLeaving(value);
  } catch (error) {
    if (error instanceof CodecError) return null;
    throw error;
  }
}
