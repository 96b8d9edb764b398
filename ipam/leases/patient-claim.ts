/** Acquires a lease however long that takes. */

import { Backoff, type Clock } from "../clock.ts";
import { ConfigError, TulleError } from "../errors.ts";
import { FailureSeries, type Logger } from "../log.ts";
import type { LeaseFeed, StoreListing } from "../stores/contracts.ts";
import type { ClaimRequest, LeaseClaimer, Membership } from "./claimer.ts";

const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 30_000;

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
  const backoff = new Backoff({ baseMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, random });
  let current: StoreListing | null = listing;
  for (;;) {
    try {
      current ??= await listAgain(feed, request, signal);
      const membership = await claimer.acquire(request, current, signal);
      failures.succeeded({ key: membership.entry.key });
      return membership;
    } catch (error) {
      if (!(error instanceof TulleError && error.retryable)) throw error;
      failures.failed(error);
    }
    await clock.sleep(backoff.nextMs(), signal);
    current = null;
  }
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
