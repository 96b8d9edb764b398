/** What a snapshot of the host proves to be gone: a device without its name, an interface without routes of ours. Pure. */

import { RTN_UNICAST } from "../../backends/netlink/route.ts";
import { ROUTE_PROTOCOL } from "../../backends/state/contract/kind.ts";
import type { HostSnapshot } from "../host/host-snapshot.ts";
import type { Gone } from "./ownership.ts";

export function goneFrom({ links, routes }: Pick<HostSnapshot, "links" | "routes">): Gone {
  const indexes = new Map(links.map(({ name, index }) => [name, index]));
  const ours = routes.filter(({ protocol, type }) => protocol === ROUTE_PROTOCOL && type === RTN_UNICAST);
  // The kernel shows no interface with routes over next hop objects when net.ipv4.nexthop_compat_mode is 0.
  const isUnclear = ours.some(({ outputIndex }) => outputIndex === null);
  const used = new Set(ours.map(({ outputIndex }) => outputIndex));
  return {
    device: (name) => !indexes.has(name),
    interface: (name) => !isUnclear && !used.has(indexes.get(name) ?? -1),
  };
}
