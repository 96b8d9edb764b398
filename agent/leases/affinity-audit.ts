/**
 * Lists affinity records of absent hosts, and those that are no longer used. Pure.
 *
 * Neither is a fault: a subnet is kept for its last host as long as there are others.
 */

import type { AffinityRecord } from "../../ipam/leases/affinity.ts";
import { fits } from "../../ipam/leases/candidates.ts";
import type { Audit } from "./lease-audit.ts";

/** One sentence for each, in the order of the records. */
export function auditAffinities(records: readonly AffinityRecord[], { leases, config }: Audit): string[] {
  const leased = new Set(leases.map(({ key }) => key));
  return records.flatMap(({ key, subnets, host }) => {
    if (leased.has(key)) return [];
    const node = host.nodeId === null ? "" : `node ${host.nodeId} at `;
    const name = `${node}${Object.values(host.publicAddress).join(", ") || "an unknown address"}`;
    if (config !== null && !fits(subnets, config.families)) {
      return [`affinity ${key}: was ${name}'s; the network has no such subnet any more`];
    }
    return [`affinity ${key}: ${name} has no lease any more; kept for it until no other subnet is left`];
  });
}
