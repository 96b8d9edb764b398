/**
 * What the parts of tulle need of a log, and the way they report failures that come in series.
 *
 * The real log is built in agent/report/log.ts; nothing here writes anywhere or knows a format.
 */

import { errorMessage, TulleError } from "./errors.ts";

/** What varies in a message. Never secrets. */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * A log takes a fixed lower-case message and fields for what varies.
 * debug: each change. info: a change of state. warn: something is retried. error: a person must act.
 */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** Drops everything. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** The fields that describe an error: its code where it has one, and its message. */
export function errorFields(error: unknown): LogFields {
  const message = errorMessage(error);
  return error instanceof TulleError ? { code: error.code, error: message } : { error: message };
}

/**
 * One kind of failure that is retried until it passes: the first failure warns, the 10th, 100th, … warn
 * again with the count, so does the first with another error code, whose remedy differs, and the first success after that
 * is said once. An outage of any length costs few lines.
 */
export class FailureSeries {
  readonly #log: Logger;
  readonly #failedMessage: string;
  readonly #recoveredMessage: string;
  #count = 0;
  #nextReport = 1;
  /** Error codes that this series has reported. */
  readonly #codes = new Set<string>();

  constructor(log: Logger, failedMessage: string, recoveredMessage: string) {
    this.#log = log;
    this.#failedMessage = failedMessage;
    this.#recoveredMessage = recoveredMessage;
  }

  /** Failures since the last success. */
  get count(): number {
    return this.#count;
  }

  failed(error: unknown, fields: LogFields = {}): void {
    this.#count += 1;
    const code = error instanceof TulleError ? error.code : "";
    if (this.#count < this.#nextReport && this.#codes.has(code)) return;
    if (this.#count >= this.#nextReport) this.#nextReport *= 10;
    this.#codes.add(code);
    const repeats = this.#count > 1 ? { failures: this.#count } : {};
    this.#log.warn(this.#failedMessage, { ...fields, ...errorFields(error), ...repeats });
  }

  succeeded(fields: LogFields = {}): void {
    if (this.#count === 0) return;
    this.#log.info(this.#recoveredMessage, { ...fields, failures: this.#count });
    this.#count = 0;
    this.#nextReport = 1;
    this.#codes.clear();
  }
}
