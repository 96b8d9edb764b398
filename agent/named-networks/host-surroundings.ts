/** What named networks must not meet on this host, as it is at the moment. */

import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { isSegmentDevice } from "../../backends/segments/names.ts";
import type { LinkObject } from "../../backends/state/kinds/link.ts";
import type { Prefix } from "../../ipam/addresses/ip.ts";
import { parseNetworkConfig } from "../../ipam/config/network-config-parser.ts";
import { isLinkRange } from "../../ipam/named-networks/network-rules.ts";
import type { UsedRange } from "../../ipam/named-networks/pools.ts";
import type { ConfigStore } from "../../ipam/stores/contracts.ts";
import { takeHostSnapshot } from "../host/host-facts.ts";
import { localPrefixes } from "../host/local-prefixes.ts";
import { overlayRanges } from "./open-catalogue.ts";

/** The overlay's ranges and those of this host's links. Throws StoreError, ConfigError and NetlinkError. */
export async function reservedRanges(
  config: Pick<ConfigStore, "read">,
  netlink: NetlinkConnection,
  signal: AbortSignal,
): Promise<readonly UsedRange[]> {
  const entry = await config.read(signal);
  const overlay = entry === null ? [] : overlayRanges(parseNetworkConfig(entry.text));
  return [
    ...overlay,
    ...linkPrefixes(netlink).map((prefix) => ({ prefix, title: "on a link of this host" })),
  ];
}

/**
 * What this host reaches on its own links, each prefix once: not by a router, and not the bridges of containers, which
 * every host may have alike. Throws NetlinkError.
 */
export function linkPrefixes(netlink: NetlinkConnection): readonly Prefix[] {
  const onLink = localPrefixes(takeHostSnapshot(netlink), []).filter(
    ({ kind, gateway, mayBeContainers, prefix }) =>
      (kind === "link" || kind === "route") && gateway === null && !mayBeContainers && isLinkRange(prefix),
  );
  return [...new Map(onLink.map(({ prefix }) => [`${prefix}`, prefix])).values()];
}

/** VNIs of VXLAN devices that are not of named networks, with the devices' names. */
export function foreignVnis(links: readonly LinkObject[]): ReadonlyMap<number, string> {
  const vnis = new Map<number, string>();
  for (const { name, details } of links)
    if (details?.type === "vxlan" && !isSegmentDevice(name)) vnis.set(details.vni, name);
  return vnis;
}
