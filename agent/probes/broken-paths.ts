/** Broken paths as sentences for a status. Pure. */

import type { LeaseKey } from "../../ipam/leases/lease.ts";
import type { PathHealth } from "./prober.ts";

/** One sentence for each peer whose path is proven to be broken: what was seen, and what to do. */
export function brokenPaths(
  peers: Iterable<LeaseKey>,
  prober: { health(peer: LeaseKey): PathHealth } | null,
): readonly string[] {
  if (prober === null) return [];
  return [...peers].flatMap((peer) => {
    const { cause } = prober.health(peer);
    return cause === null ? [] : [`peer ${peer} ${cause.text} (${cause.code}): ${cause.remedy}`];
  });
}
