/** Recovers a lost key by compare-and-swap, or says which lease is in its place. One attempt; own-lease.ts retries. */

import type { PerFamily, Prefix } from "../addresses/ip.ts";
import type { Clock } from "../clock.ts";
import { LeaseLostError, SubnetTakenError } from "../errors.ts";
import type { LeaseKeys, StoreEntry } from "../stores/store.ts";
import { olderRival } from "./join.ts";

/** The lease as we last had it. */
export interface LostLease {
  readonly entry: StoreEntry;
  readonly subnets: PerFamily<Prefix>;
  /** True when the store said that the key does not exist: create it instead of replacing it. */
  readonly isGone: boolean;
  readonly value: string;
}

export type Recovery =
  /** Ours until `deadlineMs` (monotonic; Infinity for a reservation). */
  | { readonly outcome: "held"; readonly entry: StoreEntry; readonly deadlineMs: number }
  /** The key exists; its value may be ours, from an attempt whose answer was lost. */
  | { readonly outcome: "taken"; readonly holder: StoreEntry }
  /** An older lease overlaps it; the key was deleted again. */
  | { readonly outcome: "overlapped"; readonly rival: StoreEntry }
  /** It disappeared between two reads: retry. */
  | { readonly outcome: "vanished" };

export interface RecoveryOptions {
  readonly store: LeaseKeys;
  readonly ttlSeconds: number;
  readonly clock: Clock;
}

/** Throws StoreError when the store does not answer. */
export async function recoverLease(
  options: RecoveryOptions,
  lost: LostLease,
  signal: AbortSignal,
): Promise<Recovery> {
  const { store, ttlSeconds, clock } = options;
  const sinceMs = clock.monotonicMs();
  const entry =
    (lost.isGone ? null : await swap(options, lost, signal)) ?? (await create(options, lost, signal));
  if (entry === null) return await findHolder(store, lost, signal);
  // A store restored from a backup continues from the backup's revision: a lower one can still be new to us.
  const since = entry.revision < lost.entry.revision ? 0n : lost.entry.revision;
  const others = await store.listCreatedAfter(since, signal);
  const rival = olderRival({ entry, subnets: lost.subnets }, others);
  if (rival !== null) {
    await store.remove(entry, signal);
    return { outcome: "overlapped", rival };
  }
  const lastsMs = entry.storeLeaseId === null ? Number.POSITIVE_INFINITY : ttlSeconds * 1000;
  return { outcome: "held", entry, deadlineMs: sinceMs + lastsMs };
}

/** True when the key does not exist and no lease overlaps it. */
export async function isFree(
  store: LeaseKeys,
  { entry, subnets }: Pick<LostLease, "entry" | "subnets">,
  signal: AbortSignal,
): Promise<boolean> {
  const { entries, revision } = await store.list(signal);
  const asNew = { ...entry, createRevision: revision + 1n };
  return (
    !entries.some(({ key }) => key === entry.key) && olderRival({ entry: asNew, subnets }, entries) === null
  );
}

/** Proves that the key is still ours and restores its full time to live. Null when it is not ours. */
async function swap(
  { store, ttlSeconds }: RecoveryOptions,
  { entry, value }: LostLease,
  signal: AbortSignal,
): Promise<StoreEntry | null> {
  try {
    return await store.replace(entry, value, entry.storeLeaseId === null ? null : ttlSeconds, signal);
  } catch (error) {
    if (error instanceof LeaseLostError) return null;
    throw error;
  }
}

/** A deleted reservation is created again as a lease that expires. */
async function create(
  { store, ttlSeconds }: RecoveryOptions,
  { entry, value }: LostLease,
  signal: AbortSignal,
): Promise<StoreEntry | null> {
  try {
    return await store.create(entry.key, value, ttlSeconds, signal);
  } catch (error) {
    if (error instanceof SubnetTakenError) return null;
    throw error;
  }
}

async function findHolder(store: LeaseKeys, lost: LostLease, signal: AbortSignal): Promise<Recovery> {
  const { entries } = await store.list(signal);
  const holder = entries.find(({ key }) => key === lost.entry.key);
  return holder === undefined ? { outcome: "vanished" } : { outcome: "taken", holder };
}
