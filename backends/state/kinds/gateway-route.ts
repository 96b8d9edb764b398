/**
 * The way to an IPv6 gateway that lies behind itself, as that of a VXLAN peer does.
 *
 * The kernel accepts an onlink gateway only where its table leads to that address by the same device, or has nothing but a
 * default route to it (ip6_route_check_nh_onlink in net/ipv6/route.c). While the subnet of the gateway is routed elsewhere,
 * by a former backend or by a route of the site such as fd00::/8, a route to the gateway alone satisfies it.
 */

import { type Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { CREATE } from "../../netlink/message.ts";
import { encodeDeleteRoute, encodeNewRoute } from "../../netlink/route.ts";
import { requireIndex } from "../contract/device-index.ts";
import { type KernelNames, ROUTE_PROTOCOL } from "../contract/kind.ts";

interface Hop {
  readonly device: string;
  readonly gateway: Address | null;
  readonly isOnlink: boolean;
}

/** The request to make or to remove it; null for what needs no such route. Throws NetlinkError without the device. */
export function encodeGatewayRoute(
  op: "create" | "delete",
  { device, gateway, isOnlink }: Hop,
  names: KernelNames,
): Uint8Array | null {
  if (gateway?.family !== 6 || !isOnlink) return null;
  const outputIndex = requireIndex(names, device, () => `route to the gateway ${gateway} dev ${device}`);
  const spec = { destination: Prefix.of(gateway, 128), protocol: ROUTE_PROTOCOL, outputIndex };
  return op === "create" ? encodeNewRoute(spec, CREATE) : encodeDeleteRoute(spec);
}
