/** What the page shows of a joined network: references to live state, cheap enough to be read every second. */

import type { PeerPath } from "../../backends/backend.ts";
import type { HostProfile } from "../../ipam/hosts/host-profile.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import { publicAddressesOf } from "../host/choose-interface.ts";
import type { PathHealth } from "../probes/prober.ts";
import type { Attachment } from "./attachment.ts";

export interface ShownNetwork {
  readonly own: {
    readonly key: LeaseKey;
    readonly nodeId: string;
    readonly publicAddresses: readonly string[];
    readonly backend: string;
  };
  /** Leases of other hosts, by key. A lease that has not changed is the same object the next time. */
  readonly peers: ReadonlyMap<LeaseKey, Lease>;
  /** What a host says of itself; null for one with flanneld. */
  readonly profileOf: (nodeId: string | null) => HostProfile | null;
  readonly pathTo: (peer: Lease) => PeerPath;
  /** Null where paths are not probed. */
  readonly healthOf: ((peer: LeaseKey) => PathHealth) | null;
}

/** Reads nothing. */
export function shownNetwork(
  { chosen, backend }: Attachment,
  {
    key,
    nodeId,
    ...live
  }: Pick<ShownNetwork, "peers" | "profileOf" | "healthOf"> & Pick<ShownNetwork["own"], "key" | "nodeId">,
): ShownNetwork {
  const publicAddresses = Object.values(publicAddressesOf(chosen)).map(String);
  return {
    ...live,
    own: { key, nodeId, publicAddresses, backend: backend.type },
    pathTo: (peer) => backend.pathTo(peer),
  };
}
