/**
 * Notices that a store which accepts connections but does not serve, such as one without a leader, serves again.
 *
 * What it means to be served is the store's affair.
 */

import type { StoreEnvironment } from "./options.ts";

/** While the servers are away they are asked this often whether they are back, which is cheap. */
export const RETURN_CHECK_MS = 1_000;

/**
 * Resolves once `ask` resolves, which is called about every second, by chance earlier, so that hosts do not come at
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
