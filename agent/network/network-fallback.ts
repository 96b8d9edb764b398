/** Connects the watch over both ways to peers with the parts of a joined network. */

import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import { FallbackPaths } from "../fallback/fallback-paths.ts";
import type { DesiredState } from "./desired-state.ts";
import type { JoinedNetworkOptions } from "./joined-network-options.ts";
import type { NetworkParts } from "./network-parts.ts";

/** Half of the probes: the other half tells the causes of what fails. */
const SHARE = 1 / 2;

export interface NetworkFallback {
  /** Null without a fall-back. */
  readonly paths: FallbackPaths | null;
  /** What is left for other probes, in packets per second. */
  readonly otherProbesPerSecond: number;
}

export interface NetworkFallbackEvents {
  /** Null where it is not known. */
  readonly hostNameOf: (peer: Lease) => string | null;
  /** Called after the routes of peers were planned again. */
  readonly onMove: () => void;
}

/** Starts nothing. */
export function makeNetworkFallback(
  { runtime, settings, metrics, attachmentParts }: JoinedNetworkOptions,
  { peers, runner }: NetworkParts,
  desired: DesiredState,
  { hostNameOf, onMove }: NetworkFallbackEvents,
): NetworkFallback {
  const { diversions } = attachmentParts;
  const { probesPerSecond } = settings;
  if (diversions === null) return { paths: null, otherProbesPerSecond: probesPerSecond };
  const paths = new FallbackPaths({
    ...runtime,
    metrics,
    perSecond: probesPerSecond * SHARE,
    diversions,
    network: () => {
      const { attachment, subnets: own } = desired;
      const { backend } = attachment;
      const part = backend.fallback?.part;
      return { backend, peers: peers.peers, own, runner: part === undefined ? null : runner.runnerOf(part) };
    },
    hostNameOf: (key) => {
      const peer = peers.peers.get(key);
      return peer === undefined ? null : hostNameOf(peer);
    },
    onMove: (moved: ReadonlySet<LeaseKey>) => {
      desired.waysChanged(moved);
      onMove();
    },
  });
  return { paths, otherProbesPerSecond: probesPerSecond * (1 - SHARE) };
}
