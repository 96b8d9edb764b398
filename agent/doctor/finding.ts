/** The result of one check. Types and constructors; no I/O. */

import { errorMessage } from "../../ipam/errors.ts";

/** `fail`: the network does not work; `warn`: probably a mistake; `skip`: could not be examined. */
export type Verdict = "ok" | "warn" | "fail" | "skip";

export interface Finding {
  readonly verdict: Verdict;
  /** One or two words. */
  readonly subject: string;
  /** The state, in a few words or a sentence. */
  readonly message: string;
  /** What to do; null when nothing is wrong, or the message says it. */
  readonly remedy: string | null;
}

export function ok(subject: string, message: string): Finding {
  return { verdict: "ok", subject, message, remedy: null };
}

/** A problem and its remedy. */
export function bad(verdict: "warn" | "fail", subject: string, message: string, remedy: string): Finding {
  return { verdict, subject, message, remedy };
}

/** Our errors carry their remedy in their message. */
export function failed(subject: string, error: unknown): Finding {
  return { verdict: "fail", subject, message: errorMessage(error), remedy: null };
}

export function skipped(subject: string, why: string): Finding {
  return { verdict: "skip", subject, message: why, remedy: null };
}
