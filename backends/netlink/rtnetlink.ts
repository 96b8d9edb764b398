/** Numbers of the rtnetlink protocol that several objects share, by their kernel names. */

import type { Family } from "../../ipam/addresses/ip.ts";

/** linux/rtnetlink.h: message types. */
export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
export const RTM_SETLINK = 19;
export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;
export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;
export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
export const RTM_GETNEIGH = 30;
export const RTM_GETNEIGHTBL = 66;
export const RTM_NEWNETCONF = 80;
export const RTM_GETNSID = 90;
export const RTM_NEWNEXTHOP = 104;
export const RTM_DELNEXTHOP = 105;
export const RTM_GETNEXTHOP = 106;

/** linux/rtnetlink.h: multicast groups. */
export const RTNLGRP_LINK = 1;
export const RTNLGRP_NEIGH = 3;
export const RTNLGRP_IPV4_IFADDR = 5;
export const RTNLGRP_IPV4_ROUTE = 7;
export const RTNLGRP_IPV6_IFADDR = 9;
export const RTNLGRP_IPV6_ROUTE = 11;
export const RTNLGRP_IPV4_NETCONF = 24;
export const RTNLGRP_IPV6_NETCONF = 25;
export const RTNLGRP_NEXTHOP = 32;

/** linux/rtnetlink.h: who made a route or nexthop (rtm_protocol). */
export const RTPROT_BOOT = 3;
export const RTPROT_RA = 9;

/** linux/rtnetlink.h: how far a destination or an address is valid. */
export const RT_SCOPE_UNIVERSE = 0;
export const RT_SCOPE_LINK = 253;
export const RT_SCOPE_HOST = 254;
export const RT_SCOPE_NOWHERE = 255;

/** linux/rtnetlink.h: flag of a nexthop, inline or object. */
export const RTNH_F_ONLINK = 4;

/** bits/socket.h: address families. */
export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_BRIDGE = 7;
export const AF_INET6 = 10;

export const AF_OF: Readonly<Record<Family, number>> = { 4: AF_INET, 6: AF_INET6 };

/** Our family for the kernel's; undefined for any other protocol's. */
export function familyOf(af: number): Family | undefined {
  if (af === AF_INET) return 4;
  return af === AF_INET6 ? 6 : undefined;
}

const MESSAGE_NAMES: ReadonlyMap<number, string> = new Map([
  [RTM_NEWLINK, "RTM_NEWLINK"],
  [RTM_DELLINK, "RTM_DELLINK"],
  [RTM_GETLINK, "RTM_GETLINK"],
  [RTM_SETLINK, "RTM_SETLINK"],
  [RTM_NEWADDR, "RTM_NEWADDR"],
  [RTM_DELADDR, "RTM_DELADDR"],
  [RTM_GETADDR, "RTM_GETADDR"],
  [RTM_NEWROUTE, "RTM_NEWROUTE"],
  [RTM_DELROUTE, "RTM_DELROUTE"],
  [RTM_GETROUTE, "RTM_GETROUTE"],
  [RTM_NEWNEIGH, "RTM_NEWNEIGH"],
  [RTM_DELNEIGH, "RTM_DELNEIGH"],
  [RTM_GETNEIGH, "RTM_GETNEIGH"],
  [RTM_GETNSID, "RTM_GETNSID"],
  [RTM_NEWNETCONF, "RTM_NEWNETCONF"],
  [RTM_NEWNEXTHOP, "RTM_NEWNEXTHOP"],
  [RTM_DELNEXTHOP, "RTM_DELNEXTHOP"],
  [RTM_GETNEXTHOP, "RTM_GETNEXTHOP"],
]);

/** The kernel's name of a message type, for errors. */
export function messageTypeName(type: number): string {
  return MESSAGE_NAMES.get(type) ?? `netlink message ${type}`;
}
