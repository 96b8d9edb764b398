/** Acquires a lease however long that takes. */

import type { Clock } from "../clock.ts";
import { ConfigError } from "../errors.ts";
import { FailureSeries, type Logger } from "../log.ts";
import { retryPatiently } from "../retry.ts";
import type { LeaseFeed, StoreListing } from "../stores/contracts.ts";
import type { ClaimRequest, LeaseClaimer, Membership } from "./claimer.ts";

export interface PatientClaimOptions {
  readonly claimer: Pick<LeaseClaimer, "acquire">;
  readonly feed: Pick<LeaseFeed, "list">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 ≤ x < 1 */
  readonly random: () => number;
}

/**
 * Acquires a lease, the first time as of `listing`, and retries with a back-off; logs the first failure of a series
 * (no free subnet, no store). Throws errors that are not retryable, and ConfigError when the configuration changes
 * meanwhile.
 */
export async function acquirePatiently(
  { claimer, feed, clock, logger, random }: PatientClaimOptions,
  request: ClaimRequest,
  listing: StoreListing,
  signal: AbortSignal,
): Promise<Membership> {
  const failures = new FailureSeries(logger, "network cannot be joined yet", "network can be joined now");
  let first: StoreListing | null = listing;
  const attempt = async (): Promise<Membership> => {
    const current = first ?? (await listAgain(feed, request, signal));
    first = null;
    return await claimer.acquire(request, current, signal);
  };
  return await retryPatiently(attempt, { clock, random, failures }, signal);
}

async function listAgain(
  feed: Pick<LeaseFeed, "list">,
  { config }: ClaimRequest,
  signal: AbortSignal,
): Promise<StoreListing> {
  const listing = await feed.list(signal);
  if (listing.config === null || listing.config === config.text) return listing;
  throw new ConfigError(
    "network config: it changed while this host waited to join; start the agent again, or let its supervisor do so",
  );
}
