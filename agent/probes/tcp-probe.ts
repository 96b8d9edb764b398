/** A TCP connection to a port that is meant to be closed: a refusal is an answer. */

import { connect } from "node:net";
import process from "node:process";
import type { Address } from "../../ipam/addresses/ip.ts";
import { CLOSED_PORT } from "./closed-port.ts";
import { PATIENCE_MS } from "./echo-line.ts";
import type { Outcome } from "./probe.ts";
import { probeSyn } from "./syn-probe.ts";

/** Bun says ECONNREFUSED also where the kernel says that a host or network is unreachable: then a segment of our own decides. */
const IS_REFUSAL_UNCERTAIN = "bun" in process.versions;

/** `settle` is called once. `now` is monotonic, in milliseconds. */
export function probeTcp(target: Address, now: () => number, settle: (outcome: Outcome) => void): void {
  const sentMs = now();
  const socket = connect({ host: target.toString(), port: CLOSED_PORT });
  let isEnded = false;
  const end = (outcome: Outcome): void => {
    if (isEnded) return;
    isEnded = true;
    socket.removeAllListeners().on("error", () => undefined);
    socket.destroy();
    settle(outcome);
  };
  const answered = (): void => end({ type: "answered", roundTripMs: now() - sentMs });
  // After a pause of the event loop the timer is due before the answer is read, which waits already.
  socket.setTimeout(PATIENCE_MS, () => setImmediate(() => end({ type: "silent" })));
  socket.once("connect", answered);
  socket.once("error", ({ code }: NodeJS.ErrnoException) => {
    if (code === "ECONNREFUSED" && IS_REFUSAL_UNCERTAIN) probeSyn(target, now, end);
    else if (code === "ECONNREFUSED" || code === "ECONNRESET") answered();
    else if (code === "ETIMEDOUT") end({ type: "silent" });
    else end({ type: "error", text: code ?? "unknown error" });
  });
}
