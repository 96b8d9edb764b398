/**
 * What the parts of a named network may be. Each function returns what is wrong in one sentence, or null. Pure.
 *
 * The same rules apply to what a person asks for and to what another host wrote.
 */

import { ADDRESS_BITS, type Address, type Family, type Prefix } from "../addresses/ip.ts";
import { OUTSIDE } from "../containers/outside.ts";
import type { Pool } from "./named-network.ts";

/** Docker's own overlay numbers its networks from here; below are flannel's and an administrator's. */
export const FIRST_VNI = 4096;
/** 24 bits (RFC 7348 §5). */
export const LAST_VNI = 0xffffff;

/** RFC 791 §3.2 (every host must take 576 bytes), and the length field of an IP packet. */
export const LEAST_MTU = 576;
export const LARGEST_MTU = 65_535;

/** Docker's RestrictedNamePattern, with a limit. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

/** Shortest and longest prefix of a pool: room for a gateway and a container beside what cannot be given. */
const LENGTHS: Readonly<Record<Family, readonly [number, number]>> = { 4: [8, 30], 6: [16, 126] };

export function nameProblem(name: string): string | null {
  if (NAME.test(name)) return null;
  return `"${name}" cannot name a network: start with a letter or digit, go on with letters, digits, "_", "." and "-", at most 128`;
}

export function vniProblem(vni: number): string | null {
  if (Number.isInteger(vni) && vni >= FIRST_VNI && vni <= LAST_VNI) return null;
  return `VNI ${vni} is outside ${FIRST_VNI} to ${LAST_VNI}`;
}

export function mtuProblem(mtuBytes: number, hasIpv6: boolean): string | null {
  // RFC 8200 §5: every link of IPv6 carries 1280 bytes.
  const least = hasIpv6 ? 1280 : LEAST_MTU;
  if (Number.isInteger(mtuBytes) && mtuBytes >= least && mtuBytes <= LARGEST_MTU) return null;
  return `MTU ${mtuBytes} is outside ${least} to ${LARGEST_MTU}`;
}

export function subnetProblem(subnet: Prefix): string | null {
  const [shortest, longest] = LENGTHS[subnet.family];
  if (subnet.length < shortest || subnet.length > longest)
    return `subnet ${subnet} has a length outside ${shortest} to ${longest}`;
  const { base } = subnet;
  if (base.isMulticast || base.isLoopback || base.isLinkLocal || base.isUnspecified)
    return `subnet ${subnet} is not for hosts: multicast, loopback, link-local or unspecified`;
  const outside = OUTSIDE.subnets[subnet.family];
  if (outside.contains(subnet))
    return `subnet ${subnet} is inside ${outside}, by which podman's containers reach the outside; choose another`;
  return null;
}

export function poolProblem({ subnet, allocation, gateway, excluded }: Pool): string | null {
  const problem = subnetProblem(subnet);
  if (problem !== null) return problem;
  if (!subnet.contains(allocation)) return `range ${allocation} is not inside subnet ${subnet}`;
  const unusable = hostAddressProblem(subnet, gateway);
  if (unusable !== null) return `gateway ${unusable}`;
  const outside = excluded.find((address) => !subnet.contains(address));
  return outside === undefined ? null : `excluded address ${outside} is not inside subnet ${subnet}`;
}

/**
 * False for what is too wide to be the network of a link: a VPN that takes all packets has routes such as 0.0.0.0/1
 * without a gateway. No network could avoid it, and none need.
 */
export function isLinkRange({ family, length }: Prefix): boolean {
  return length >= LENGTHS[family][0];
}

/** Why no interface in `subnet` can have the address. */
export function hostAddressProblem(subnet: Prefix, address: Address): string | null {
  if (!subnet.contains(address)) return `${address} is not inside subnet ${subnet}`;
  // The base is the network's own address (RFC 1122 §3.2.1.3) or the anycast address of routers (RFC 4291 §2.6.1).
  if (address.equals(subnet.base)) return `${address} is the base of subnet ${subnet}`;
  if (address.family === 4 && address.equals(subnet.last))
    return `${address} is the broadcast address of subnet ${subnet}`;
  return null;
}

/** Why no container can have the address. */
export function containerAddressProblem(pool: Pool, address: Address): string | null {
  const problem = hostAddressProblem(pool.subnet, address);
  if (problem !== null) return problem;
  if (address.equals(pool.gateway)) return `${address} is the gateway`;
  return pool.excluded.some((excluded) => excluded.equals(address)) ? `${address} is excluded` : null;
}

/** How many addresses can be given automatically, at most; the excluded ones count. */
export function poolSize({ allocation }: Pool): bigint {
  return 1n << BigInt(ADDRESS_BITS[allocation.family] - allocation.length);
}
