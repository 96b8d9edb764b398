/** Whether this process may administer the network. In a user namespace the kernel may still refuse. */

import { readFileSync } from "node:fs";
import { TulleError } from "../../ipam/errors.ts";

/** linux/capability.h */
const CAP_NET_ADMIN = 12n;

/** True when CAP_NET_ADMIN is in the effective set (capabilities(7)). */
export function mayAdministerNetwork(): boolean {
  const effective = /^CapEff:\s*([\da-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return ((BigInt(`0x${effective}`) >> CAP_NET_ADMIN) & 1n) === 1n;
}

/** Throws TULLE_PREREQUISITE without the privilege, before anything is changed. */
export function requireNetworkPrivilege(): void {
  if (mayAdministerNetwork()) return;
  throw new TulleError(
    "TULLE_PREREQUISITE",
    "CAP_NET_ADMIN is missing: run tulled as root, or give its service that capability",
  );
}
