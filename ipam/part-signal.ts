/**
 * A signal for a part of what another signal is for: it fires with the whole, or earlier by itself.
 *
 * AbortSignal.any would do, but in Node 20 the signal of the whole keeps a trace of each part for as long as it
 * lives, and the parts here are as many as the tries in an outage of any length.
 */

/** Why a part ends before the whole. One for all: an error made for each would carry a stack. */
const ENDED = new Error("this part has ended");

export interface PartSignal {
  readonly signal: AbortSignal;
  /** Fires it, if it has not, and forgets the whole. To be called in the end in any case. */
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
