/** Peers on the fall-back, and those that not even it reaches, as sentences for a status. Pure. */

import { formatDuration } from "../../ipam/duration.ts";
import { labelOf } from "../../ipam/hosts/host-label.ts";
import type { Lease } from "../../ipam/leases/lease.ts";
import type { FallbackPaths } from "../fallback/fallback-paths.ts";

/** What is known of a peer otherwise. */
interface PeerKnowledge {
  readonly hostNameOf: (peer: Lease) => string | null;
  /** It answers this host's probes, whichever way packets and answers take. */
  readonly isAnswering: (peer: Lease) => boolean;
}

/** Nothing without a fall-back. Times are monotonic, in milliseconds. */
export function fallbackProblems(
  peers: Iterable<Lease>,
  paths: Pick<FallbackPaths, "problem" | "stateOf"> | null,
  { hostNameOf, isAnswering }: PeerKnowledge,
  nowMs: number,
): readonly string[] {
  if (paths === null) return [];
  if (paths.problem !== null) return [paths.problem];
  return [...peers].flatMap((lease) => {
    const { sinceMs, isCutOff, isReserveSilent } = paths.stateOf(lease.key, nowMs);
    const peer = labelOf(lease.key, hostNameOf(lease));
    if (isReserveSilent)
      return `the fall-back to peer ${peer} does not answer: check that its tulled runs, and that firewalls between the hosts let UDP port 8285 pass`;
    // Each way is probed in both directions: the peer's answers may take the other one.
    if (isCutOff && !isAnswering(lease))
      return `peer ${peer} answers neither through the tunnel nor by the fall-back: check that the host runs, and that firewalls between the hosts let both pass`;
    if (sinceMs === null) return [];
    const duration = formatDuration((nowMs - sinceMs) / 1000);
    const back = isCutOff
      ? "; its answers come by the tunnel: check what drops tunnel packets to it, and UDP port 8285 from it"
      : ": check what drops tunnel packets between the hosts";
    return `packets to peer ${peer} have gone by the fall-back for ${duration}, because the tunnel to it fails${back}`;
  });
}
