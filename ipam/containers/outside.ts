/**
 * The bridge by which podman's containers on named networks reach the outside. tulled makes its rules, and tulle-netavark
 * the bridge and what is on it.
 *
 * Its addresses are the same on every host, because they are masqueraded. Those of IPv4 are link-local (RFC 3927). IPv6 has no
 * such range, because routers do not forward link-local packets: a unique local one with a random global identifier
 * (RFC 4193 §3.2.2), to which resolvers prefer the container's IPv4 address for destinations that have both (RFC 6724 §2.1).
 */

import { type Address, type Family, Prefix } from "../addresses/ip.ts";

export const OUTSIDE = {
  name: "br-tulle",
  /** Names reservations, rules and ports. */
  network: "tulle-outside",
  subnets: { 4: Prefix.parse("169.254.96.0/20"), 6: Prefix.parse("fd66:ffdf:a2ec::/64") },
} as const;

/** This host's address on the bridge. */
export function outsideGateway(family: Family): Address {
  return OUTSIDE.subnets[family].base.plus(1n);
}

/** The address of `family` that goes with a container's IPv4 address on the bridge: at the same place in its subnet. */
export function outsideAddress(ipv4: Address, family: Family): Address {
  const { base } = OUTSIDE.subnets[family];
  return base.plus(ipv4.value - OUTSIDE.subnets[4].base.value);
}
