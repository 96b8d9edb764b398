/**
 * Records which host had which subnet, beyond the end of its lease.
 *
 * One record per subnet under `<prefix>/tulle/affinity/`, in the form of a lease value without backend data. A host
 * that was away longer than its lease finds its subnet again; new hosts leave such subnets to the last. The
 * revision of a record tells when its subnet was last in use, to about a day: no clock takes part.
 */

import type { PerFamily, Prefix } from "../addresses/ip.ts";
import { type Clock, pause } from "../clock.ts";
import { ConflictError } from "../errors.ts";
import { FailureSeries, type Logger } from "../log.ts";
import type { Records, StoreEntry } from "../stores/contracts.ts";
import type { Claimant } from "./claim.ts";
import type { LeaseAttrs, LeaseKey } from "./lease.ts";
import { formatLeaseValue, parseLeaseKey, parseLeaseValue } from "./lease-codec.ts";

const FOLDER = "affinity/";
/** How often the record of a subnet in use is written again. */
const REFRESH_MS = 24 * 3600 * 1000;
/** How soon another subnet of this host is recorded, and a failure repeated. */
const LOOK_MS = 60_000;
/** Twice the hosts of a large network. */
const MOST_RECORDS = 10_000;
/** How many a host removes at a time: more than it adds. */
const MOST_REMOVALS = 16;

/** That a host has, or had, a subnet. */
export interface AffinityRecord {
  /** The key that the subnet's lease has or had. */
  readonly key: LeaseKey;
  readonly subnets: PerFamily<Prefix>;
  readonly host: Claimant;
  /** Tells when the subnet was last in use, to about a day. */
  readonly revision: bigint;
}

export interface Affinities {
  /** Subnets that this host had, the latest first. */
  readonly own: readonly PerFamily<Prefix>[];
  /** All that were ever used, the longest unused first. */
  readonly used: readonly PerFamily<Prefix>[];
}

/** All records; one that cannot be decoded counts as absent, because no traffic depends on it. Throws StoreError. */
export async function listAffinityRecords(
  records: Records,
  signal: AbortSignal,
): Promise<readonly AffinityRecord[]> {
  return (await records.list(FOLDER, signal)).flatMap((entry) => decode(entry) ?? []);
}

/** The records as a starting host uses them. Throws StoreError. */
export async function readAffinities(
  records: Records,
  nodeId: string | null,
  signal: AbortSignal,
): Promise<Affinities> {
  const found = [...(await listAffinityRecords(records, signal))];
  found.sort((a, b) => (a.revision < b.revision ? -1 : 1));
  const own = found.filter(({ host }) => nodeId !== null && host.nodeId === nodeId).reverse();
  return { own: own.map(({ subnets }) => subnets), used: found.map(({ subnets }) => subnets) };
}

/** Writes that the subnet of `key` is this host's, now. Returns whether its record is a new one. Throws StoreError. */
export async function recordAffinity(
  records: Records,
  key: LeaseKey,
  attrs: LeaseAttrs,
  signal: AbortSignal,
): Promise<boolean> {
  const name = FOLDER + key;
  const { otherBackends: _, ...rest } = attrs;
  const value = formatLeaseValue({ ...rest, backendData: {} });
  const found = await records.read(name, signal);
  if (await unlessChanged(records.write(name, value, found, signal))) return found === null;
  // The record that was written in between says the same: the subnet is in use. One that was removed was too old.
  if ((await records.read(name, signal)) !== null) return false;
  return await unlessChanged(records.write(name, value, null, signal));
}

/** Removes some of the longest unused records where there are too many. Throws StoreError. */
export async function removeOldAffinities(
  records: Records,
  signal: AbortSignal,
  most = MOST_RECORDS,
): Promise<void> {
  const entries = [...(await records.list(FOLDER, signal))];
  const surplus = Math.min(MOST_REMOVALS, entries.length - most);
  if (surplus <= 0) return;
  entries.sort((a, b) => (a.revision < b.revision ? -1 : 1));
  for (const entry of entries.slice(0, surplus)) await unlessChanged(records.remove(entry, signal));
}

/** False when the record has changed since it was read. */
async function unlessChanged(change: Promise<unknown>): Promise<boolean> {
  try {
    await change;
    return true;
  } catch (error) {
    if (!(error instanceof ConflictError)) throw error;
    return false;
  }
}

/** The lease that we hold. */
interface HeldLease {
  readonly key: LeaseKey;
  readonly attrs: LeaseAttrs;
  /** Another one where the store lost the lease: what it lost may include the record. */
  readonly createRevision: bigint;
}

/** Keeps the record of our subnet young until `signal` fires. To be started when the host is at work. */
export async function keepAffinity(
  options: {
    readonly records: Records;
    /** Read at each look: both may change. Null while another host has the lease: the record is that host's. */
    readonly current: () => HeldLease | null;
    readonly clock: Clock;
    readonly logger: Logger;
  },
  signal: AbortSignal,
): Promise<void> {
  const { records, current, clock, logger } = options;
  const failures = new FailureSeries(
    logger,
    "subnet affinity could not be recorded",
    "subnet affinity is recorded",
  );
  let recorded: HeldLease | null = null;
  let dueMs = Number.NEGATIVE_INFINITY;
  for (; !signal.aborted; await pause(clock, LOOK_MS, signal)) {
    const own = current();
    if (own === null) {
      recorded = null;
      continue;
    }
    const { key, attrs, createRevision } = own;
    const nowMs = clock.monotonicMs();
    const isKnown: boolean = key === recorded?.key;
    if (isKnown && createRevision === recorded?.createRevision && nowMs < dueMs) continue;
    try {
      const isNew = await recordAffinity(records, key, attrs, signal);
      // All hosts write their records again where the store lost all: no time for each to list them.
      if (isNew && !isKnown) await removeOldAffinities(records, signal);
      failures.succeeded({ key });
      recorded = own;
      dueMs = nowMs + REFRESH_MS;
    } catch (error) {
      if (signal.aborted) return;
      failures.failed(error, { key });
      recorded = null;
    }
  }
}

function decode({ key, value, revision }: StoreEntry): AffinityRecord | null {
  const leaseKey = key.slice(FOLDER.length);
  try {
    return { key: leaseKey, subnets: parseLeaseKey(leaseKey), host: parseLeaseValue(value), revision };
  } catch {
    return null;
  }
}
