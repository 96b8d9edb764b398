/** Keeps the last problem that was logged: what a daemon waits for before it has joined a network. */

import type { LogFields, Logger } from "../../ipam/log.ts";

/** A log that passes everything on; `last` is null before the first warning or error that names a reason. */
export function rememberProblem<T extends Logger>(
  logger: T,
): { readonly logger: T; readonly last: () => string | null } {
  let problem: string | null = null;
  const heard =
    (write: (message: string, fields?: LogFields) => void) =>
    (message: string, fields: LogFields = {}): void => {
      write(message, fields);
      const details = fields.problem ?? fields.reason ?? fields.error;
      if (details !== undefined) problem = `${message}: ${details}`;
    };
  return {
    logger: { ...logger, warn: heard(logger.warn), error: heard(logger.error) },
    last: () => problem,
  };
}
