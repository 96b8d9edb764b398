/** A limit of time for work that a container's start waits for. */

import type { Clock } from "../clock.ts";
import { StoreError } from "../errors.ts";
import { partOf } from "../part-signal.ts";

/** Does the work with a signal that also fires after `ms`; rejects with `late` then. */
export async function within<T>(
  ms: number,
  late: string,
  clock: Clock,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const part = partOf(signal);
  const timer = partOf(signal);
  let isLate = false;
  const expire = clock.sleep(ms, timer.signal).then(
    () => {
      isLate = true;
      part.end();
    },
    () => undefined,
  );
  try {
    return await work(part.signal);
  } catch (error) {
    if (isLate && !signal.aborted)
      throw new StoreError(late, { code: "TULLE_STORE_UNREACHABLE", retryable: true, cause: error });
    throw error;
  } finally {
    part.end();
    timer.end();
    await expire;
  }
}
