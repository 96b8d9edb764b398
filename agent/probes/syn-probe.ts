/** A TCP segment with a checksum of our own to the closed port: answered where the kernel's segments are not, it blames the card. */

import { randomInt } from "node:crypto";
import { SynSocket } from "../../backends/probe/syn-socket.ts";
import type { Address } from "../../ipam/addresses/ip.ts";
import { CLOSED_PORT } from "./closed-port.ts";
import type { Outcome } from "./probe.ts";
import { probeBySocket } from "./socket-probe.ts";

/** linux: net.ipv4.ip_local_port_range ends at 60999 by default; no program of this host is given a later one. */
const FIRST_PORT = 61_000;

/** `settle` is called once, maybe before this returns. `now` is monotonic, in milliseconds. */
export function probeSyn(target: Address, now: () => number, settle: (outcome: Outcome) => void): void {
  const open = (): SynSocket =>
    SynSocket.open({
      target,
      targetPort: CLOSED_PORT,
      sourcePort: randomInt(FIRST_PORT, 0x10000),
      sequence: randomInt(0x100000000),
    });
  probeBySocket({ open, outcomeOf: ({ errnoName: text }) => ({ type: "error", text }), now }, settle);
}
