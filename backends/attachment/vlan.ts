/** VLANs of a container's port, and the host's own interface in one. */

import { ConfigError } from "../../ipam/errors.ts";
import { encodeAddVlans, encodeDeleteVlans } from "../netlink/bridge-vlan.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { encodeNewLink, encodeSetLink, type Link } from "../netlink/link/link.ts";
import { findLinkByIndex, getLink, ignoring } from "./links.ts";
import { randomMacs } from "./mac.ts";
import { gatewayDeviceName, usesVlans, type VlanSpec } from "./spec.ts";

/** Every port of a filtering bridge starts in this one (br_vlan.c). */
const DEFAULT_VLAN = 1;

/** Puts a port into the VLANs; without any it changes nothing. Throws NetlinkError. */
export function joinVlans(host: NetlinkConnection, port: Link, vlans: VlanSpec): void {
  if (!usesVlans(vlans)) return;
  const { untagged, tagged, keepsDefault } = vlans;
  const own = untagged === 0 ? [] : [{ id: untagged, isPvid: true, isUntagged: true }];
  host.request(encodeAddVlans(port.index, [...own, ...tagged.map((id) => ({ id }))]));
  if (!keepsDefault) host.request(encodeDeleteVlans(port.index, [{ id: DEFAULT_VLAN }]));
}

/**
 * The device that carries the gateway's addresses: the bridge, or for a VLAN `<bridge>.<vlan>`, one end of a pair
 * whose other end is a port in that VLAN. Throws ConfigError when the name would be too long.
 */
export function ensureGatewayDevice(host: NetlinkConnection, bridge: Link, vlans: VlanSpec): Link {
  if (vlans.untagged === 0) return bridge;
  const name = gatewayDeviceName(bridge.name, vlans);
  if (name.length > 15) {
    throw new ConfigError(
      `bridge: "${bridge.name}" is wrong; with vlan ${vlans.untagged} its gateway would be ${name}, take a shorter name`,
    );
  }
  const [mac, portMac] = randomMacs();
  const { mtuBytes } = bridge;
  const peer = { name: `v${vlans.untagged}p${bridge.index}`, mac: portMac, mtuBytes };
  ignoring(["EEXIST"], () =>
    host.request(encodeNewLink({ name, mac, mtuBytes, info: { kind: "veth", peer } })),
  );
  const gateway = getLink(host, name);
  const port = peerOf(host, gateway);
  if (port !== null) {
    host.request(encodeSetLink(port.index, { masterIndex: bridge.index, isUp: true }));
    joinVlans(host, port, vlans);
  }
  host.request(encodeSetLink(gateway.index, { isUp: true }));
  return gateway;
}

/** By its index: one made for a former bridge of this name has another name. Null for an administrator's VLAN device. */
function peerOf(host: NetlinkConnection, { type, index, linkIndex }: Link): Link | null {
  if (type !== "veth" || linkIndex === null) return null;
  const peer = findLinkByIndex(host, linkIndex);
  return peer?.linkIndex === index ? peer : null;
}
