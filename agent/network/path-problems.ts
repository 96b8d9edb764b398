/**
 * What diverts packets on their way to peers, for the status: the kernel's routing decision for a sample of peers.
 *
 * A status is asked for often, so the work does not grow with the number of peers: about 1 ms.
 */

import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { mapFamilies, type PerFamily, type Prefix } from "../../ipam/addresses/ip.ts";
import { TulleError } from "../../ipam/errors.ts";
import { labelOf } from "../../ipam/hosts/host-label.ts";
import type { Lease } from "../../ipam/leases/lease.ts";
import type { CauseFinding } from "../probes/broken-paths.ts";
import { sampledRoutingCheck } from "../routing/peer-sample.ts";
import { checkRouting, type RoutingProblem } from "../routing/routing-check.ts";
import type { Attachment } from "./attachment.ts";

export interface RoutedPeers {
  readonly attachment: Pick<Attachment, "host" | "backend">;
  readonly ownSubnets: PerFamily<Prefix>;
  readonly peers: Iterable<Lease>;
  readonly hostNameOf: (peer: Lease) => string | null;
  /** What probes have found. */
  readonly causes: readonly Pick<CauseFinding, "code" | "text">[];
}

/** One sentence per obstacle that no cause explains; a kernel that does not answer is a problem too. */
export function pathProblems(netlink: NetlinkConnection, routed: RoutedPeers): readonly string[] {
  const { attachment, ownSubnets, peers, hostNameOf, causes } = routed;
  const { host, backend } = attachment;
  const check = sampledRoutingCheck({
    interfaces: mapFamilies(host.uplinks, (uplink) => uplink.interface),
    sources: mapFamilies(host.uplinks, (uplink) => uplink.address),
    devices: backend.devices,
    ownSubnets,
    peers: [...peers].map((peer) => ({
      key: labelOf(peer.key, hostNameOf(peer)),
      subnets: peer.subnets,
      publicAddresses: peer.attrs.publicAddress,
      path: backend.pathTo(peer),
    })),
  });
  try {
    return checkRouting(netlink, check)
      .filter((problem) => !causes.some((finding) => explains(finding, problem)))
      .map(({ message }) => message);
  } catch (error) {
    if (!(error instanceof TulleError)) throw error;
    return [`the routes to peers cannot be checked: ${error.message}`];
  }
}

/** Whether a finding of probes names the obstacle, or the interface whose routes are gone with it. */
export function explains(
  { code, text }: Pick<CauseFinding, "code" | "text">,
  { obstacle, isMissingRoute }: Pick<RoutingProblem, "obstacle" | "isMissingRoute">,
): boolean {
  return tells(text, obstacle) || (isMissingRoute && code === "interface-down");
}

/** Not one that only begins alike, as table 52 does for table 5. */
export function tells(finding: string, obstacle: string): boolean {
  return `${finding},`.includes(` ${obstacle},`);
}
