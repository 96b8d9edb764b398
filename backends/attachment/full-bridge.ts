/** What the kernel says of a bridge that has as many ports as it can have. No I/O. */

import { ConflictError } from "../../ipam/errors.ts";
import { isErrno } from "./links.ts";

/** net/bridge/br_private.h: BR_MAX_PORTS is 1024, and no port has the number 0. */
export const MOST_PORTS = 1023;

/** The error of a request that adds a port to a bridge, in words where the bridge has no room for it. */
export function explainFullBridge(error: unknown, bridge: string): unknown {
  if (!isErrno(error, "EXFULL")) return error;
  return new ConflictError(fullBridge(bridge), {
    cause: error,
    details: { remedy: "stop containers on this host, or start the new one on another host" },
  });
}

export function fullBridge(bridge: string): string {
  return `${bridge} has ${MOST_PORTS} ports, and Linux allows a bridge no more`;
}
