/** What the kernel knows of sessions with peers, for status and metrics. */

import type { PeerDetails } from "../../backends/backend.ts";
import type { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import type { MixedBackend } from "../../backends/mixed.ts";
import { NetlinkError } from "../../backends/netlink/errors.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";

const NOTHING: ReadonlyMap<LeaseKey, PeerDetails> = new Map();

/** By lease; empty for a backend without sessions, and while they cannot be read. */
export function peerDetailsOf(
  backend: Pick<MixedBackend, "peerDetails">,
  port: Pick<RtnetlinkPort, "wireguard">,
  peers: Iterable<Lease>,
): ReadonlyMap<LeaseKey, PeerDetails> {
  try {
    return backend.peerDetails((device) => port.wireguard.sessions(device), peers);
  } catch (error) {
    // The reconciler reports why.
    if (!(error instanceof NetlinkError)) throw error;
    return NOTHING;
  }
}
