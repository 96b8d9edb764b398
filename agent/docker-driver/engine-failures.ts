/** Failures to ask the engine, as a series in the log. */

import { FailureSeries } from "../../ipam/log.ts";
import type { DriverContext } from "./context.ts";

/**
 * A host may have Docker installed and not running. That is worth a warning only where there are named networks, in
 * Docker or in the store; else it is a detail.
 */
export function engineFailures(
  { logger, state, feed }: DriverContext,
  failedMessage: string,
  recoveredMessage: string,
): FailureSeries {
  const isUsed = (): boolean => state.networks.size > 0 || feed.view.networks.size > 0;
  return new FailureSeries(
    {
      debug: (message, fields) => logger.debug(message, fields),
      info: (message, fields) => logger.info(message, fields),
      warn: (message, fields) => (isUsed() ? logger.warn(message, fields) : logger.debug(message, fields)),
      error: (message, fields) => logger.error(message, fields),
    },
    failedMessage,
    recoveredMessage,
  );
}
