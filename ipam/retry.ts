/** Repeats what fails for a passing reason, however long that takes. */

import { Backoff, type Clock } from "./clock.ts";
import { TulleError } from "./errors.ts";
import type { FailureSeries } from "./log.ts";

const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 30_000;

export interface RetryOptions {
  readonly clock: Clock;
  /** 0 ≤ x < 1 */
  readonly random: () => number;
  /** Logs the failures. */
  readonly failures: FailureSeries;
}

/**
 * Answers what `attempt` does when it succeeds; retries with a back-off. Throws errors that are not retryable, and the
 * signal's reason.
 */
export async function retryPatiently<T>(
  attempt: () => Promise<T>,
  { clock, random, failures }: RetryOptions,
  signal: AbortSignal,
): Promise<T> {
  const backoff = new Backoff({ baseMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, random });
  for (;;) {
    try {
      const result = await attempt();
      failures.succeeded();
      return result;
    } catch (error) {
      if (!(error instanceof TulleError && error.retryable)) throw error;
      failures.failed(error);
    }
    await clock.sleep(backoff.nextMs(), signal);
  }
}
