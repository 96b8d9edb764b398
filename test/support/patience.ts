/**
 * Waits in tests with real servers: how long until something must have come about, on a machine that may be busy with
 * other things. How long it takes is measured by the bench, not asserted here.
 */

import { expect } from "vitest";
import type { NetworkStore, StoreEntry } from "../../ipam/stores/contracts.ts";

/** For `expect.poll`: from the moment at which nothing is in the way any more. */
export const SOON = { timeout: 20_000, interval: 20 };

/** A server that hangs is found out by its silence: an interval and a deadline of the watchdog, server by server. */
export const FOUND_OUT = { timeout: 40_000, interval: 20 };

/** What a fault may leave in a log, where a cluster may have more than one leader on the way: a series begins and ends. */
export const FEW_LINES = 6;

/**
 * Creates a lease while the servers may still be choosing a leader, by retrying. An attempt that fails may have
 * created it: then the key is there, and ours.
 */
export async function createSoon(store: NetworkStore, key: string, signal: AbortSignal): Promise<void> {
  const attempt = async (): Promise<string> =>
    await store.leases.create(key, "x", 60, signal).then(
      ({ key: created }: StoreEntry) => created,
      (error: { readonly code?: string }) => error.code ?? String(error),
    );
  await expect.poll(attempt, FOUND_OUT).toMatch(new RegExp(`^(${key}|TULLE_SUBNET_TAKEN)$`));
}
