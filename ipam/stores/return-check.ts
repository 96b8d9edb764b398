/**
 * Detects that a store which accepts connections without serving, such as one without a leader, serves again.
 *
 * The store supplies the request that tells.
 */

import type { StoreEnvironment } from "./options.ts";

/** While the servers are unreachable, one cheap request is made this often. */
export const RETURN_CHECK_MS = 1_000;

/**
 * Resolves once `ask` resolves, which is called about every second, with jitter, so that hosts do not return at
 * once. Rejects when the signal fires.
 */
export async function untilServed(
  ask: (signal: AbortSignal) => Promise<unknown>,
  { clock, random }: Pick<StoreEnvironment, "clock" | "random">,
  signal: AbortSignal,
): Promise<void> {
  const answers = (): Promise<boolean> =>
    ask(signal).then(
      () => true,
      () => false,
    );
  do await clock.sleep((RETURN_CHECK_MS * (1 + random())) / 2, signal);
  while (!(await answers()));
  signal.throwIfAborted();
}
