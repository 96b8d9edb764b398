/** Removes many records at once. */

import { ConflictError } from "../errors.ts";
import type { Records, StoreEntry } from "../stores/contracts.ts";

/** Requests under way at a time. */
const PARALLEL = 32;

/** Removes the records that are unchanged since they were read and returns how many. Throws StoreError. */
export async function removeRecords(
  records: Records,
  entries: readonly StoreEntry[],
  signal: AbortSignal,
): Promise<number> {
  const removals = await inParallel(entries, PARALLEL, async (entry) => {
    try {
      await records.remove(entry, signal);
      return true;
    } catch (error) {
      if (error instanceof ConflictError) return false;
      throw error;
    }
  });
  return removals.filter(Boolean).length;
}

/** Maps with at most `limit` calls under way; rejects with the first error, once those under way have ended. */
export async function inParallel<T, U>(
  values: readonly T[],
  limit: number,
  map: (value: T) => Promise<U>,
): Promise<U[]> {
  const results: U[] = new Array(values.length);
  const rest = values.entries();
  let hasFailed = false;
  const work = async (): Promise<void> => {
    for (const [index, value] of rest) {
      if (hasFailed) return;
      try {
        results[index] = await map(value);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: limit }, work));
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  return results;
}
