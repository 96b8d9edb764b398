/** A TCP connection to a port that is meant to be closed: a refusal is an answer. */

import { ECONNREFUSED, ECONNRESET, ETIMEDOUT, type NetlinkError } from "../../backends/netlink/errors.ts";
import { ConnectSocket } from "../../backends/probe/connect-socket.ts";
import type { Address } from "../../ipam/addresses/ip.ts";
import { CLOSED_PORT } from "./closed-port.ts";
import type { Outcome } from "./probe.ts";
import { probeBySocket } from "./socket-probe.ts";

/** `settle` is called once, maybe before this returns. `now` is monotonic, in milliseconds. */
export function probeTcp(target: Address, now: () => number, settle: (outcome: Outcome) => void): void {
  probeBySocket({ open: () => ConnectSocket.open(target, CLOSED_PORT), outcomeOf, now }, settle);
}

function outcomeOf({ errno, errnoName }: NetlinkError, roundTripMs: number): Outcome {
  if (errno === ECONNREFUSED || errno === ECONNRESET) return { type: "answered", roundTripMs };
  return errno === ETIMEDOUT ? { type: "silent" } : { type: "error", text: errnoName };
}
