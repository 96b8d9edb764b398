/** Broken paths as sentences for a status. Pure. */

import { labelOf } from "../../ipam/hosts/host-label.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import type { PathHealth } from "./prober.ts";

/** One sentence for each peer whose path is proven to be broken: what was seen, and what to do. */
export function brokenPaths(
  peers: Iterable<Lease>,
  prober: { health(peer: LeaseKey): PathHealth } | null,
  hostNameOf: (peer: Lease) => string | null,
): readonly string[] {
  if (prober === null) return [];
  return [...peers].flatMap((peer) => {
    const { cause } = prober.health(peer.key);
    if (cause === null) return [];
    return [`peer ${labelOf(peer.key, hostNameOf(peer))} ${cause.text} (${cause.code}): ${cause.remedy}`];
  });
}
