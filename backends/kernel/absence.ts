/** Recognises the kernel's answer to deleting what does not exist. Pure. */

import { EADDRNOTAVAIL, ENODEV, ENOENT, ESRCH, type NetlinkError } from "../netlink/errors.ts";

/** By the kernel's subsystem: nexthops and FDB, routes, devices, addresses. */
const ABSENT: ReadonlySet<number> = new Set([ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL]);

/** True for the answer to deleting what is not there. */
export function isAbsent(error: NetlinkError): boolean {
  return ABSENT.has(error.errno);
}
