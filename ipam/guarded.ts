/**
 * Wraps what timers, events and other programs call back: neither a throw nor a rejection leaves it, because either
 * would end the process. A failure is logged, and what failed runs again at the next call.
 */

import { FailureSeries, type Logger } from "./log.ts";

/** `what` names the callback in the log, as in "interface watch". */
export function guarded<Args extends readonly unknown[]>(
  log: Logger,
  what: string,
  body: (...args: Args) => unknown,
): (...args: Args) => void {
  const failures = new FailureSeries(log, `${what} failed and is retried`, `${what} works again`);
  const failed = (error: unknown): void => failures.failed(error);
  return (...args) => {
    try {
      const result = body(...args);
      if (!(result instanceof Promise)) failures.succeeded();
      else result.then(() => failures.succeeded()).catch(failed);
    } catch (error) {
      failed(error);
    }
  };
}
