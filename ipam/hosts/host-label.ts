/** How a host is named in a sentence. Pure. */

import type { LeaseKey } from "../leases/lease.ts";

/** `10.2.54.0-24 (node7)`; the lease alone for a host without a known name. */
export function labelOf(lease: LeaseKey, hostName: string | null): string {
  return hostName === null ? lease : `${lease} (${hostName})`;
}
