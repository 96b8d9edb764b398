/**
 * Which way packets to a peer go: by the tunnel, or by the fall-back while the tunnel fails. Pure; a state machine of two
 * states.
 *
 *     tunnel ──tunnel dead, fall-back alive──► fallback
 *       ▲                                         │
 *       └──tunnel alive for 30 s, or for 2 s while the fall-back is dead
 *
 * Leaving a dead tunnel never waits. Returns by proof are a minute apart or more, which is what bounds how often a
 * tunnel that works now and then moves its packets.
 */

export type Verdict =
  /** Nothing was ever answered, and it is too early to tell. */
  | "unknown"
  | "alive"
  /** Answers are missing, but not for long enough. */
  | "doubtful"
  | "dead";

export interface Verdicts {
  readonly tunnel: Verdict;
  /** "alive" only when it was proven after the tunnel fell silent. */
  readonly fallback: Verdict;
  /** When the tunnel answered last; null before the first answer. */
  readonly tunnelAnsweredMs: number | null;
}

/** Times are monotonic, in milliseconds. */
export type PathChoice =
  | { readonly by: "tunnel"; readonly returnedMs: number | null }
  | {
      readonly by: "fallback";
      readonly sinceMs: number;
      /** Since when the tunnel has answered without a break; null while it does not. */
      readonly goodSinceMs: number | null;
      /** The last return; null before the first. */
      readonly returnedMs: number | null;
    };

const PROOF_MS = 30_000;
/** The same where nothing else works: an answer or two may be luck. */
const RESCUE_PROOF_MS = 2_000;
const BETWEEN_RETURNS_MS = 60_000;

export const AT_START: PathChoice = { by: "tunnel", returnedMs: null };

/** Of a peer whose packets a former run left on the fall-back. */
export function resumed(nowMs: number): PathChoice {
  return { by: "fallback", sinceMs: nowMs, goodSinceMs: null, returnedMs: null };
}

/** The choice after one look at both paths; the same object when nothing has changed. */
export function nextChoice(choice: PathChoice, verdicts: Verdicts, nowMs: number): PathChoice {
  const { tunnel, fallback, tunnelAnsweredMs } = verdicts;
  switch (choice.by) {
    case "tunnel": {
      if (tunnel !== "dead" || fallback !== "alive") return choice;
      return { by: "fallback", sinceMs: nowMs, goodSinceMs: null, returnedMs: choice.returnedMs };
    }
    case "fallback": {
      if (tunnel !== "alive") return choice.goodSinceMs === null ? choice : { ...choice, goodSinceMs: null };
      const { returnedMs, goodSinceMs } = choice;
      if (goodSinceMs === null) return { ...choice, goodSinceMs: nowMs };
      // Where many pairs share the budget, the next probe may be minutes away: time without one proves nothing.
      const goodMs = (tunnelAnsweredMs ?? goodSinceMs) - goodSinceMs;
      const mayReturn = returnedMs === null || nowMs - returnedMs >= BETWEEN_RETURNS_MS;
      const isProven = goodMs >= PROOF_MS && mayReturn;
      const isRescue = goodMs >= RESCUE_PROOF_MS && fallback === "dead";
      return isProven || isRescue ? { by: "tunnel", returnedMs: nowMs } : choice;
    }
  }
}
