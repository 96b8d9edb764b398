/**
 * A child of an AbortSignal: it fires when the parent fires, or earlier when `end()` is called.
 *
 * The daemon does not use AbortSignal.any(): in Node 20 the parent keeps a reference to each child as long as it lives,
 * and an outage creates one child for each attempt.
 */

/** The reason when a part ends before the whole. One object for all parts: a new Error captures a stack each time. */
const ENDED = new Error("this part has ended");

export interface PartSignal {
  readonly signal: AbortSignal;
  /** Fires the signal, if it has not fired, and removes the listener from the whole. Must always be called. */
  end(): void;
}

/** A part of `whole`. */
export function partOf(whole: AbortSignal): PartSignal {
  const part = new AbortController();
  const follow = () => part.abort(whole.reason);
  if (whole.aborted) follow();
  else whole.addEventListener("abort", follow, { once: true });
  return {
    signal: part.signal,
    end: () => {
      whole.removeEventListener("abort", follow);
      part.abort(ENDED);
    },
  };
}

/** Resolves to null when the signal fires; at once when it has fired. */
export function fired(signal: AbortSignal): Promise<null> {
  if (signal.aborted) return Promise.resolve(null);
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(null), { once: true });
  });
}
