/**
 * Keeps the daemon alive after an error that no part of it handled, and shows the error as a problem.
 *
 * Node warns that the state after an uncaught exception is unknown (process, event "uncaughtException"). What can be
 * wrong here is that one event was not processed, because rules, routes, files and leases are compared as whole states
 * and no lock or transaction spans a callback. So everything is read again: the store, the kernel, the firewall. Ending
 * the process would repair no more, and no new host would be learned while the cause lasts, for example while the host
 * has no file descriptors left (EMFILE).
 */

import { type Clock, Sleep } from "../../ipam/clock.ts";
import type { Faults } from "../../ipam/faults.ts";

const PARTS = {
  uncaughtException: "a timer or an event",
  unhandledRejection: "a background task",
} as const;

/** Errors that follow each other closely cost one recovery in this time. */
const RECOVERY_DELAY_MS = 2_000;
/** After so much time without another error it is over. */
const QUIET_MS = 60_000;

export interface LastNetOptions {
  readonly faults: Faults;
  readonly clock: Clock;
  /** Reads again what a lost event could have changed. */
  readonly recover: (reason: string) => void;
}

/** Catches such errors until `signal` fires. */
export function catchStrayErrors(options: LastNetOptions, signal: AbortSignal): void {
  for (const [event, part] of Object.entries(PARTS)) {
    const listener = watchPart(part, options, signal);
    process.on(event, listener);
    signal.addEventListener("abort", () => process.off(event, listener), { once: true });
  }
}

/** Returns what takes the errors of one part. One recovery and one timer serve all errors of a burst. */
function watchPart(
  part: string,
  { faults, clock, recover }: LastNetOptions,
  signal: AbortSignal,
): (error: unknown) => void {
  const sleep = new Sleep(clock);
  let count = 0;
  let isRunning = false;
  const note = (error: unknown): void => {
    count += 1;
    faults.failed(part, error);
  };
  const run = async (): Promise<void> => {
    let handled: number;
    do {
      await clock.sleep(RECOVERY_DELAY_MS, signal);
      handled = count;
      try {
        recover(`after an error in ${part}`);
      } catch (error) {
        note(error);
      }
      if (handled === count) await sleep.for(QUIET_MS, signal);
    } while (handled !== count);
    isRunning = false;
    faults.succeeded(part);
  };
  return (error) => {
    note(error);
    sleep.wake();
    if (isRunning) return;
    isRunning = true;
    // It rejects when the signal fires, and only then.
    run().catch(() => undefined);
  };
}
