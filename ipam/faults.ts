/**
 * Errors of callbacks: what timers, events and other parts of the process call. One that left a callback would end the
 * process, although the next call of the same callback may well succeed.
 */

import { errorMessage } from "./errors.ts";
import { FailureSeries, type Logger } from "./log.ts";

interface Fault {
  readonly series: FailureSeries;
  /** Null after a success. */
  reason: string | null;
}

/** Which parts of a process fail at the moment, and why. */
export class Faults {
  readonly #log: Logger;
  readonly #parts = new Map<string, Fault>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** One sentence for each part that failed and has not succeeded since. */
  get problems(): readonly string[] {
    return [...this.#parts].flatMap(([part, { reason }]) =>
      reason === null ? [] : [`internal error in ${part}, which is retried: ${reason}`],
    );
  }

  /** Logs the first, the 10th, the 100th … failure of a part. */
  failed(part: string, error: unknown): void {
    const fault = this.#parts.get(part) ?? this.#add(part);
    fault.reason = errorMessage(error);
    fault.series.failed(error, { part, at: originOf(error) });
  }

  succeeded(part: string): void {
    const fault = this.#parts.get(part);
    if (fault === undefined) return;
    fault.reason = null;
    fault.series.succeeded({ part });
  }

  #add(part: string): Fault {
    const series = new FailureSeries(this.#log, "internal error; retried", "internal error is over");
    const fault: Fault = { series, reason: null };
    this.#parts.set(part, fault);
    return fault;
  }
}

/** `body` as a callback that neither throws nor leaves a rejection behind. `part` names it for a person. */
export function guarded<Args extends readonly unknown[]>(
  faults: Faults,
  part: string,
  body: (...args: Args) => unknown,
): (...args: Args) => void {
  return (...args) => {
    try {
      const result = body(...args);
      if (result instanceof Promise) settle(faults, part, result);
      else faults.succeeded(part);
    } catch (error) {
      faults.failed(part, error);
    }
  };
}

function settle(faults: Faults, part: string, result: Promise<unknown>): void {
  result.then(
    () => faults.succeeded(part),
    (error: unknown) => faults.failed(part, error),
  );
}

/** The place of an error in the source, for the log; undefined for a thrown value that is not an Error. */
function originOf(error: unknown): string | undefined {
  return error instanceof Error ? /\n\s+at (.+)/.exec(error.stack ?? "")?.[1] : undefined;
}
