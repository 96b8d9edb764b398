/** Recovers a lost key by compare-and-swap, or says which lease is in its place. One attempt; own-lease.ts retries. */

import { LeaseLostError, SubnetTakenError } from "../errors.ts";
import type { LeaseFeed, StoreEntry } from "../stores/contracts.ts";
import type { LostLease, Recovery } from "./claimer.ts";
import { type AllocationOptions, olderRival } from "./join.ts";
import { withdrawLease } from "./withdrawal.ts";

/** Throws StoreError when the store does not answer. */
export async function recoverLease(
  options: AllocationOptions,
  lost: LostLease,
  signal: AbortSignal,
): Promise<Recovery> {
  const { store, ttlSeconds, clock } = options;
  const sinceMs = clock.monotonicMs();
  const entry =
    (lost.isGone ? null : await swap(options, lost, signal)) ?? (await create(options, lost, signal));
  if (entry === null) return await findHolder(store.feed, lost, signal);
  // A store restored from a backup continues from the backup's revision: a lower one can still be new to us.
  const since = entry.revision < lost.entry.revision ? 0n : lost.provenRevision;
  const others = await store.leases.listCreatedAfter(since, signal);
  const rival = olderRival({ entry, subnets: lost.subnets }, others, lost.networks);
  if (rival !== null) {
    await withdrawLease(store.leases, entry, signal);
    return { outcome: "overlapped", rival };
  }
  const lastsMs = entry.storeLeaseId === null ? Number.POSITIVE_INFINITY : ttlSeconds * 1000;
  return { outcome: "held", entry, subnets: lost.subnets, deadlineMs: sinceMs + lastsMs };
}

/** True when the key does not exist and no lease overlaps it. */
export async function isFree(
  feed: LeaseFeed,
  { entry, subnets, networks }: Pick<LostLease, "entry" | "subnets" | "networks">,
  signal: AbortSignal,
): Promise<boolean> {
  const { entries, revision } = await feed.list(signal);
  const asNew = { ...entry, createRevision: revision + 1n };
  return (
    !entries.some(({ key }) => key === entry.key) &&
    olderRival({ entry: asNew, subnets }, entries, networks) === null
  );
}

/** Proves that the key is still ours and restores its full time to live. Null when it is not ours. */
async function swap(
  { store, ttlSeconds }: AllocationOptions,
  { entry, value }: LostLease,
  signal: AbortSignal,
): Promise<StoreEntry | null> {
  try {
    return await store.leases.replace(entry, value, entry.storeLeaseId === null ? null : ttlSeconds, signal);
  } catch (error) {
    if (error instanceof LeaseLostError) return null;
    throw error;
  }
}

/** A deleted reservation is created again as a lease that expires. */
async function create(
  { store, ttlSeconds }: AllocationOptions,
  { entry, value }: LostLease,
  signal: AbortSignal,
): Promise<StoreEntry | null> {
  try {
    return await store.leases.create(entry.key, value, ttlSeconds, signal);
  } catch (error) {
    if (error instanceof SubnetTakenError) return null;
    throw error;
  }
}

async function findHolder(feed: LeaseFeed, lost: LostLease, signal: AbortSignal): Promise<Recovery> {
  const { entries } = await feed.list(signal);
  const holder = entries.find(({ key }) => key === lost.entry.key);
  return holder === undefined ? { outcome: "vanished" } : { outcome: "taken", holder };
}
