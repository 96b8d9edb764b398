/** What the whole host does with packets: IPv6, and forwarding, which containers need behind a gateway on their bridge. */

import type { Family } from "../../ipam/addresses/ip.ts";
import { decodeAddress, encodeAddressDump, IFA_F_PERMANENT } from "../netlink/address.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { decodeLink, encodeLinkDump } from "../netlink/link/link.ts";
import { decodeRoute, encodeRouteDump } from "../netlink/route.ts";
import { RTPROT_RA } from "../netlink/rtnetlink.ts";
import { preferSysctl, readSysctl, requireSysctl } from "./sysctl.ts";

const FORWARDING: Readonly<Record<Family, string>> = {
  4: "ipv4/ip_forward",
  6: "ipv6/conf/all/forwarding",
};

/** True when devices that this host makes have the family, and `device`, which may be absent, does too. */
export function hasFamily(family: Family, device: string): boolean {
  if (family === 4) return true;
  const setting = (name: string) => readSysctl(`ipv6/conf/${name}/disable_ipv6`);
  return ["all", "default"].every((name) => setting(name) === "0") && setting(device) !== "1";
}

/** True when the host forwards packets of this family. */
export function isForwarding(family: Family): boolean {
  return readSysctl(FORWARDING[family]) === "1";
}

/** Enables forwarding, and keeps the host's own addresses and routes. Throws ConflictError. */
export function ensureForwarding(host: NetlinkConnection, family: Family): void {
  if (isForwarding(family)) return;
  if (family === 6) keepAdvertisements(host);
  requireSysctl(FORWARDING[family], "1");
}

/**
 * A router ignores router advertisements unless accept_ra is 2 (Linux ip-sysctl, accept_ra), and deletes its advertised
 * default routes when it becomes one. Only for interfaces that learned something: on others, a 2 would let a container
 * or a neighbour configure this host.
 */
function keepAdvertisements(host: NetlinkConnection): void {
  const learned = advertisedIndexes(host);
  if (learned.size === 0) return;
  for (const { index, name } of host.dump(encodeLinkDump(), decodeLink)) {
    const setting = `ipv6/conf/${name}/accept_ra`;
    if (learned.has(index) && readSysctl(setting) === "1") preferSysctl(setting, "2");
  }
}

/** Interfaces with routes from a router, or with addresses that expire, as advertised ones do (RFC 4862, 5.5.3). */
function advertisedIndexes(host: NetlinkConnection): ReadonlySet<number> {
  const routes = host
    .dump(encodeRouteDump(6, { protocol: RTPROT_RA }), decodeRoute)
    .filter(({ protocol }) => protocol === RTPROT_RA);
  const addresses = host
    .dump(encodeAddressDump(), decodeAddress)
    .filter(({ address, flags }) => address.family === 6 && (flags & IFA_F_PERMANENT) === 0);
  return new Set([
    ...routes.flatMap(({ outputIndex }) => outputIndex ?? []),
    ...addresses.map(({ interfaceIndex }) => interfaceIndex),
  ]);
}
