/**
 * Deletes health records of hosts that are gone: those that have neither a lease nor another record.
 *
 * A lease that is missing for a moment proves nothing; a record is an orphan at two looks in a row, and the store is read
 * before it is deleted.
 */

import { type Clock, pause } from "../../ipam/clock.ts";
import { ConflictError } from "../../ipam/errors.ts";
import { FailureSeries, type Logger } from "../../ipam/log.ts";
import { goneAmong } from "../../ipam/named-networks/gone-hosts.ts";
import type { HostId } from "../../ipam/named-networks/named-network.ts";
import type { NetworkStore } from "../../ipam/stores/contracts.ts";
import type { KeptRecord } from "./health-feed.ts";

export const LOOK_INTERVAL_MS = 60_000;
/** In one round: an attack on the store is not answered by thousands of writes. */
const MOST_DELETED = 50;

export interface OrphanOptions {
  readonly store: Pick<NetworkStore, "feed" | "records">;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly records: () => ReadonlyMap<string, KeptRecord>;
  /** Node ids of all hosts with a lease; null while they are not known. */
  readonly hosts: () => ReadonlySet<string> | null;
}

/** Looks until the signal fires. */
export async function deleteOrphans(options: OrphanOptions, signal: AbortSignal): Promise<void> {
  const { clock, logger } = options;
  const failures = new FailureSeries(
    logger,
    "health records of absent hosts could not be deleted",
    "health records of absent hosts are deleted",
  );
  let before: ReadonlySet<string> = new Set();
  while (!signal.aborted) {
    await pause(clock, LOOK_INTERVAL_MS, signal);
    if (signal.aborted) return;
    const orphans = orphansOf(options);
    const lasting = orphans.filter(({ nodeId }) => before.has(nodeId));
    before = new Set(orphans.map(({ nodeId }) => nodeId));
    try {
      await deleteProven(options, lasting, signal);
      failures.succeeded();
    } catch (error) {
      if (!signal.aborted) failures.failed(error);
    }
  }
}

function orphansOf({ records, hosts }: OrphanOptions): readonly KeptRecord[] {
  const here = hosts();
  return here === null ? [] : [...records().values()].filter(({ nodeId }) => !here.has(nodeId));
}

async function deleteProven(
  { store, logger }: OrphanOptions,
  orphans: readonly KeptRecord[],
  signal: AbortSignal,
): Promise<void> {
  if (orphans.length === 0) return;
  const gone = await goneAmong(
    store,
    orphans.map(({ nodeId }) => nodeId as HostId),
    signal,
  );
  const proven = orphans.filter(({ nodeId }) => gone.has(nodeId as HostId)).slice(0, MOST_DELETED);
  for (const { entry, nodeId } of proven) {
    try {
      await store.records.remove(entry, signal);
      logger.info("health record of an absent host is deleted", { host: nodeId });
    } catch (error) {
      // It was written meanwhile: its host is there.
      if (!(error instanceof ConflictError)) throw error;
    }
  }
}
