/** The first choice of an interface, which may take until the host's network is up. */

import type { Clock } from "../../ipam/clock.ts";
import { errorMessage, InterfaceError } from "../../ipam/errors.ts";
import type { Logger } from "../../ipam/log.ts";

const RETRY_MS = 1000;

/**
 * Returns what `choose` returns, as soon as it throws no retryable InterfaceError. Throws its other errors, and the
 * signal's reason.
 */
export async function waitForInterface<T>(
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
  signal: AbortSignal,
  choose: () => T,
): Promise<T> {
  let isWaiting = false;
  while (true) {
    try {
      return choose();
    } catch (error) {
      if (!(error instanceof InterfaceError && error.retryable)) throw error;
      if (!isWaiting) {
        logger.error("no interface can carry the tunnel; retrying", { error: errorMessage(error) });
      }
      isWaiting = true;
    }
    await clock.sleep(RETRY_MS, signal);
  }
}
