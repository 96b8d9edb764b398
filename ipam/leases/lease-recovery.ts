/**
 * Gets a lost key back by compare-and-swap, or says who has it. One attempt; when and how often is own-lease.ts's
 * affair.
 */

import type { PerFamily, Prefix } from "../addresses/ip.ts";
import type { Clock } from "../clock.ts";
import { LeaseLostError, SubnetTakenError } from "../errors.ts";
import type { StoreEntry, SubnetStore } from "../stores/store.ts";
import { olderRival } from "./join.ts";

/** The lease as we last had it. */
export interface LostLease {
  readonly entry: StoreEntry;
  readonly subnets: PerFamily<Prefix>;
  /** True when the store has said that the key is absent: there is nothing to swap, only to create. */
  readonly isGone: boolean;
  readonly value: string;
}

export type Recovery =
  /** Ours until `deadlineMs` (monotonic; Infinity for a reservation). */
  | { readonly outcome: "held"; readonly entry: StoreEntry; readonly deadlineMs: number }
  /** Something stands there already; it may be our own value, from an attempt of which we heard no answer. */
  | { readonly outcome: "taken"; readonly holder: StoreEntry }
  /** An older lease overlaps it; the key was given up again. */
  | { readonly outcome: "overlapped"; readonly rival: StoreEntry }
  /** It vanished while we looked: try again. */
  | { readonly outcome: "vanished" };

export interface RecoveryOptions {
  readonly store: SubnetStore;
  readonly ttlSeconds: number;
  readonly clock: Clock;
}

/** Throws StoreError when the store cannot say. */
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
  // A store that was restored from a backup counts on from there: what is older than ours may still be new to us.
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

/** True when nobody has the key and no lease overlaps it. */
export async function isFree(
  store: SubnetStore,
  { entry, subnets }: Pick<LostLease, "entry" | "subnets">,
  signal: AbortSignal,
): Promise<boolean> {
  const { entries, revision } = await store.list(signal);
  const asNew = { ...entry, createRevision: revision + 1n };
  return (
    !entries.some(({ key }) => key === entry.key) && olderRival({ entry: asNew, subnets }, entries) === null
  );
}

/** Proves that the key is still ours, and gives it its full time again. Null when it is not. */
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

/** A reservation that somebody deleted comes back as a lease like any other. */
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

async function findHolder(store: SubnetStore, lost: LostLease, signal: AbortSignal): Promise<Recovery> {
  const { entries } = await store.list(signal);
  const holder = entries.find(({ key }) => key === lost.entry.key);
  return holder === undefined ? { outcome: "vanished" } : { outcome: "taken", holder };
}
