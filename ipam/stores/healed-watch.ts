/**
 * Keeps a watch running: logs the first failure of a series, waits, and tries again.
 *
 * Whether an attempt resumes or lists again is up to the store.
 */

import { Backoff, type Clock } from "../clock.ts";
import { errorMessage } from "../errors.ts";
import { FailureSeries } from "../log.ts";
import { partOf } from "../part-signal.ts";
import type { StoreHealth } from "./contracts.ts";
import type { KeyMessage } from "./key-value.ts";
import type { StoreEnvironment } from "./options.ts";

/** Time from the start of one attempt to the next: short for a brief outage, long for one that lasts. */
const BACKOFF_BASE_MS = 100;
const BACKOFF_MAX_MS = 5_000;

/** Least pause between two attempts, however long the first one took. */
const PAUSE_MS = 50;

/** An attempt that lasts this long has succeeded; one that fails earlier belongs to the series of failures. */
const STEADY_MS = 1_000;

export interface HealedWatchOptions extends StoreEnvironment {
  /** The store, for the log. */
  readonly description: string;
  /** How often redial() was called: an attempt that it ended has not failed. */
  readonly redials?: () => number;
  /** Resolves when an attempt makes sense before the delay is over: an endpoint that refused answers again. */
  readonly wake?: (signal: AbortSignal) => Promise<void>;
  /** See LeaseFeed.watch. */
  readonly onHealth?: ((health: StoreHealth) => void) | undefined;
}

/**
 * Yields what `follow` yields and calls it again whenever it fails or ends. Returns when the signal fires.
 * `follow` calls `alive` when it works without having anything to yield; a message counts as well.
 */
export async function* healedWatch(
  follow: (alive: () => void) => AsyncIterable<KeyMessage>,
  options: HealedWatchOptions,
  signal: AbortSignal,
): AsyncGenerator<KeyMessage> {
  const { log, clock, random, description, redials = () => 0, wake, onHealth } = options;
  const backoff = new Backoff({ baseMs: BACKOFF_BASE_MS, maxMs: BACKOFF_MAX_MS, random });
  const series = new FailureSeries(
    log,
    "lease store watch failed, trying again",
    "lease store watch works again",
  );
  const onSteady = () => {
    backoff.reset();
    if (series.count > 0) onHealth?.({ isFollowed: true });
    series.succeeded({ store: description });
  };
  while (!signal.aborted) {
    const startedMs = clock.monotonicMs();
    const redialsBefore = redials();
    const steadiness = watchSteadiness(clock, onSteady, signal);
    try {
      for await (const message of follow(steadiness.alive)) {
        steadiness.alive();
        yield message;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (redials() === redialsBefore) {
        series.failed(error, { store: description });
        onHealth?.({ isFollowed: false, reason: errorMessage(error) });
      }
    } finally {
      steadiness.stop();
    }
    const spentMs = clock.monotonicMs() - startedMs;
    await waitForTry(clock, Math.max(PAUSE_MS, backoff.nextMs() - spentMs), wake, signal);
  }
}

/** Calls `onSteady` once an attempt has lasted long enough. */
function watchSteadiness(
  clock: Clock,
  onSteady: () => void,
  signal: AbortSignal,
): { alive(): void; stop(): void } {
  const attempt = partOf(signal);
  let isAlive = false;
  return {
    alive: () => {
      if (isAlive) return;
      isAlive = true;
      clock.sleep(STEADY_MS, attempt.signal).then(onSteady, ignoreAbort(attempt.signal));
    },
    stop: attempt.end,
  };
}

/** Waits for the delay, the wake-up or the signal, whichever comes first. */
async function waitForTry(
  clock: Clock,
  delayMs: number,
  wake: HealedWatchOptions["wake"],
  signal: AbortSignal,
): Promise<void> {
  const pause = partOf(signal);
  const waits = [clock.sleep(delayMs, pause.signal), ...(wake ? [wake(pause.signal)] : [])];
  const settled = waits.map((wait) => wait.catch(ignoreAbort(pause.signal)));
  await Promise.race(settled);
  pause.end();
}

/** A wait that the signal ended is expected; any other failure of it is a defect. */
function ignoreAbort(signal: AbortSignal): (error: unknown) => void {
  return (error) => {
    if (!signal.aborted) throw error;
  };
}
