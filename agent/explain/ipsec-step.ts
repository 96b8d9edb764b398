/** IPsec policies on the packet's way. A blocking one ends it; what one that encrypts makes of the packet is not followed. */

import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { NetlinkError } from "../../backends/netlink/errors.ts";
import {
  decodePolicy,
  encodePolicyDump,
  type IpsecPolicy,
  NETLINK_XFRM,
} from "../../backends/netlink/ipsec-policy.ts";
import type { NetnsHandle } from "../../backends/netlink/netns.ts";
import type { Packet } from "./packet.ts";
import type { Scene } from "./scene.ts";

/** None where the kernel has no IPsec. Default: of this thread's network namespace. */
export function readIpsecPolicies(netns?: NetnsHandle): readonly IpsecPolicy[] {
  try {
    const connection = NetlinkConnection.open({ protocol: NETLINK_XFRM, ...(netns && { netns }) });
    try {
      return connection.dump(encodePolicyDump(), decodePolicy);
    } finally {
      connection.close();
    }
  } catch (error) {
    if (error instanceof NetlinkError) return [];
    throw error;
  }
}

/** The first policy that selects the packet counts (xfrm_policy_lookup_bytype in net/xfrm/xfrm_policy.c). */
export function passIpsec(
  { steps, ipsec }: Scene,
  direction: "out" | "fwd",
  { source, destination }: Packet,
): void {
  const selecting = ipsec
    .filter(
      (policy) =>
        policy.direction === direction &&
        policy.source.contains(source) &&
        policy.destination.contains(destination),
    )
    .toSorted((left, right) => left.priority - right.priority);
  for (const policy of selecting) {
    const text = `the IPsec policy from ${policy.source} to ${policy.destination}, ${direction}`;
    if (policy.hasOthers) {
      steps.doubt("ipsec", `may match: ${text}`, text);
      continue;
    }
    if (policy.isBlocking)
      steps.stop("ipsec", `${text}, blocks the packet`, { remedy: 'delete it: "ip xfrm policy"' });
    if (policy.hasTemplates)
      steps.doubt("ipsec", `${text}, encrypts the packet, which is not followed`, text);
    return;
  }
}
