/**
 * Keeps a watch going for ever: what a store's own watch throws is logged once in a series, waited out and
 * followed by another try.
 *
 * How a try resumes or lists again is the store's affair.
 */

import { Backoff } from "../clock.ts";
import { FailureSeries } from "../log.ts";
import type { StoreMessage } from "../store.ts";
import type { StoreEnvironment } from "./options.ts";

/** Delays between tries: short enough for a blip, long enough for a night. */
const BACKOFF_BASE_MS = 100;
const BACKOFF_MAX_MS = 5_000;

export interface HealedWatchOptions extends StoreEnvironment {
  /** The store, for the log. */
  readonly description: string;
  /** Resolves when it is worth trying before the delay is over: an endpoint that refused answers again. */
  readonly wake?: (signal: AbortSignal) => Promise<void>;
}

/** Yields what `follow` yields and calls it again whenever it fails or ends. Returns when the signal fires. */
export async function* healedWatch(
  follow: () => AsyncIterable<StoreMessage>,
  options: HealedWatchOptions,
  signal: AbortSignal,
): AsyncGenerator<StoreMessage> {
  const { log, clock, random, description, wake } = options;
  const backoff = new Backoff({ baseMs: BACKOFF_BASE_MS, maxMs: BACKOFF_MAX_MS, random });
  const series = new FailureSeries(
    log,
    "lease store watch failed, trying again",
    "lease store watch works again",
  );
  while (!signal.aborted) {
    try {
      for await (const message of follow()) {
        backoff.reset();
        series.succeeded({ store: description });
        yield message;
      }
    } catch (error) {
      if (signal.aborted) return;
      series.failed(error, { store: description });
    }
    await waitForTry(clock.sleep, backoff.nextMs(), wake, signal);
  }
}

/** Waits for the delay, the wake-up or the end of everything, whichever comes first. */
async function waitForTry(
  sleep: StoreEnvironment["clock"]["sleep"],
  delayMs: number,
  wake: HealedWatchOptions["wake"],
  signal: AbortSignal,
): Promise<void> {
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const waits = [sleep(delayMs, either), ...(wake ? [wake(either)] : [])];
  await Promise.race(waits).catch(ignoreAbort(signal));
  over.abort();
}

/** The end of the wait is told by the signal itself; any other failure of the wait is a defect. */
function ignoreAbort(signal: AbortSignal): (error: unknown) => void {
  return (error) => {
    if (!signal.aborted) throw error;
  };
}
