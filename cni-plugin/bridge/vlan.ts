/** The `vlan` options: which VLANs a container's port is in, and the host's own interface in them. */

import { encodeAddVlans, encodeDeleteVlans } from "../../backends/netlink/bridge-vlan.ts";
import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { encodeNewLink, encodeSetLink, type Link } from "../../backends/netlink/link/link.ts";
import { CNI_CODES, CniError } from "../errors.ts";
import { findLink, getLink, ignoring } from "./links.ts";
import { type BridgeOptions, usesVlans } from "./options.ts";

/** Every port of a filtering bridge is born in this one (br_vlan.c). */
const DEFAULT_VLAN = 1;

type VlanOptions = Pick<BridgeOptions, "vlan" | "vlanTrunk" | "preserveDefaultVlan">;

/** Puts a port into the VLANs that the options name; none is no change. Throws NetlinkError. */
export function joinVlans(host: NetlinkConnection, port: Link, options: VlanOptions): void {
  if (!usesVlans(options)) return;
  const { vlan, vlanTrunk, preserveDefaultVlan } = options;
  const own = vlan === 0 ? [] : [{ id: vlan, isPvid: true, isUntagged: true }];
  host.request(encodeAddVlans(port.index, [...own, ...vlanTrunk.map((id) => ({ id }))]));
  if (!preserveDefaultVlan) host.request(encodeDeleteVlans(port.index, [{ id: DEFAULT_VLAN }]));
}

/**
 * The device that carries the gateway's addresses: the bridge, or for a VLAN `<bridge>.<vlan>`, one end of a pair
 * whose other end is a port in that VLAN. Throws CniError 7 when the name would be too long.
 */
export function ensureGatewayDevice(host: NetlinkConnection, bridge: Link, options: BridgeOptions): Link {
  if (options.vlan === 0) return bridge;
  const name = `${bridge.name}.${options.vlan}`;
  if (name.length > 15) {
    throw new CniError(
      CNI_CODES.invalidConfig,
      `bridge: "${bridge.name}" is wrong; with vlan ${options.vlan} its gateway would be ${name}, take a shorter name`,
    );
  }
  const portName = `v${options.vlan}p${bridge.index}`;
  ignoring(["EEXIST"], () =>
    host.request(
      encodeNewLink({
        name,
        mtuBytes: bridge.mtuBytes,
        info: { kind: "veth", peer: { name: portName, mtuBytes: bridge.mtuBytes } },
      }),
    ),
  );
  const port = findLink(host, portName);
  if (port !== null) {
    host.request(encodeSetLink(port.index, { masterIndex: bridge.index, isUp: true }));
    joinVlans(host, port, options);
  }
  const gateway = getLink(host, name);
  host.request(encodeSetLink(gateway.index, { isUp: true }));
  return gateway;
}
