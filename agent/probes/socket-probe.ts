/** A probe that has a socket of its own: waits for what becomes of it, at most for the usual time. */

import { NetlinkError } from "../../backends/netlink/errors.ts";
import { PATIENCE_MS } from "./echo-line.ts";
import type { Outcome } from "./probe.ts";

export interface ProbeSocket {
  /** Calls back once on the event loop, with 0 for an answer, else with the errno that the kernel has for the probe. */
  onOutcome(callback: (errno: number) => void): void;
  close(): void;
}

export interface SocketProbe {
  /** Sends. Throws NetlinkError. */
  readonly open: () => ProbeSocket;
  /** What an errno means, of sending too. */
  readonly outcomeOf: (error: NetlinkError, roundTripMs: number) => Outcome;
  /** Monotonic, in milliseconds. */
  readonly now: () => number;
}

/** `settle` is called once, maybe before this returns. */
export function probeBySocket(
  { open, outcomeOf, now }: SocketProbe,
  settle: (outcome: Outcome) => void,
): void {
  const sentMs = now();
  let socket: ProbeSocket;
  try {
    socket = open();
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    settle(outcomeOf(error, now() - sentMs));
    return;
  }
  let isEnded = false;
  const end = (outcome: Outcome): void => {
    if (isEnded) return;
    isEnded = true;
    clearTimeout(timer);
    socket.close();
    settle(outcome);
  };
  // After a pause of the event loop the timer is due before the answer is read, which waits already.
  const timer = setTimeout(() => setImmediate(() => end({ type: "silent" })), PATIENCE_MS);
  socket.onOutcome((errno) => {
    const roundTripMs = now() - sentMs;
    end(
      errno === 0
        ? { type: "answered", roundTripMs }
        : outcomeOf(new NetlinkError("probe", errno), roundTripMs),
    );
  });
}
