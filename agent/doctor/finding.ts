/** What an examination says about one subject. Types and two shorthands; no I/O. */

import { errorMessage } from "../../ipam/errors.ts";

/** `fail`: the network does not work; `warn`: it may not work as meant; `skip`: could not be looked at. */
export type Verdict = "ok" | "warn" | "fail" | "skip";

export interface Finding {
  readonly verdict: Verdict;
  /** One or two words. */
  readonly subject: string;
  /** What is, in a few words or a sentence. */
  readonly message: string;
  /** What to do about it; null when nothing has to be done. */
  readonly remedy: string | null;
}

export function ok(subject: string, message: string): Finding {
  return { verdict: "ok", subject, message, remedy: null };
}

/** A finding that something is wrong, and how to put it right. */
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
