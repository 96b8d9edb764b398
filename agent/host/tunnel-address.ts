/**
 * Which of an interface's addresses the tunnel uses. Pure.
 *
 * Other hosts send to it, so it must not move to an address that another host may take over, such as a virtual
 * address of keepalived or kube-vip. Hence the order: the address in use, the one that this host's lease names, the
 * one that the kernel puts into packets, the first one.
 */

import { IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_TENTATIVE } from "../../backends/netlink/address.ts";
import { RT_SCOPE_LINK, RT_SCOPE_UNIVERSE } from "../../backends/netlink/rtnetlink.ts";
import { ADDRESS_BITS, type Address, type Family } from "../../ipam/addresses/ip.ts";
import type { HostAddress, HostLink, HostSnapshot } from "./host-snapshot.ts";

/** linux/if_addr.h: on IPv6 addresses "temporary", on IPv4 addresses "secondary". */
const IFA_F_SECONDARY = 0x01;

/** linux/if_addr.h: the kernel does not send from it yet, or not at all. */
const UNUSABLE = IFA_F_DADFAILED | IFA_F_TENTATIVE;

/** Above every other rank. */
const DEPRECATED = 8;

/** Preferences among the addresses of an interface. */
export interface AddressWishes {
  /** True for the addresses that the rule names; the others count only where it names none of the family. */
  readonly isNamed: (address: Address) => boolean;
  /** The tunnel's present addresses, then those of this host's lease. They stay while the interface has them. */
  readonly known: readonly Address[];
  /** The kernel's sources of packets that leave by this interface, most specific route first. */
  readonly sources: readonly Address[];
}

/** The address for the tunnel, null when the interface has none of this family. */
export function tunnelAddress(
  host: HostSnapshot,
  link: HostLink,
  family: Family,
  { isNamed, known, sources }: AddressWishes,
): Address | null {
  const all = host.addresses.filter((one) => isUsable(one, link, family));
  const named = all.filter(({ address }) => isNamed(address));
  const candidates = named.length > 0 ? named : all;
  const sound = candidates.filter((one) => rankOf(one) < DEPRECATED);
  const firstOf = (wanted: readonly Address[], among: readonly HostAddress[]): Address | undefined =>
    wanted.find((one) => among.some(({ address }) => address.equals(one)));
  const keepable = candidates.filter((one) => !isOutclassed(one, sound));
  const [best] = [...sound].sort((left, right) => rankOf(left) - rankOf(right));
  return firstOf(known, keepable) ?? firstOf(sources, sound) ?? best?.address ?? null;
}

/** What an interface without a usable address of this family has, as in "no IPv4 address". */
export function missingAddress(host: HostSnapshot, link: HostLink, family: Family): string {
  const own = host.addresses.filter(
    ({ interfaceIndex, address }) => interfaceIndex === link.index && address.family === family,
  );
  const hasFlag = (flag: number): boolean =>
    own.some(({ flags, address }) => (flags & flag) !== 0 && !address.isLinkLocal);
  // The kernel leaves such an address tentative as well (linux/net/ipv6/addrconf.c, addrconf_dad_stop).
  if (hasFlag(IFA_F_DADFAILED))
    return `an IPv${family} address that another host on the link has too (duplicate address detection failed): give it another one`;
  if (hasFlag(IFA_F_TENTATIVE)) return `an IPv${family} address that is still being checked for duplicates`;
  if (own.length > 0 && own.every(({ address }) => address.isLinkLocal))
    return `only link-local IPv${family} addresses: give it a global or unique local one`;
  return `no IPv${family} address`;
}

function isUsable({ interfaceIndex, address, scope, flags }: HostAddress, link: HostLink, family: Family) {
  return (
    interfaceIndex === link.index &&
    address.family === family &&
    (scope === RT_SCOPE_UNIVERSE || scope === RT_SCOPE_LINK) &&
    (flags & UNUSABLE) === 0 &&
    // The tunnel needs an address that is the same from everywhere (RFC 4007): it names no interface.
    !(family === 6 && address.isLinkLocal)
  );
}

/**
 * Whether the address in use must give way: a link-local one to any other, and a deprecated IPv6 address to one that
 * is not (RFC 4862, 5.5.4). A deprecated IPv4 address stays: its DHCP client may be late.
 */
function isOutclassed(one: HostAddress, sound: readonly HostAddress[]): boolean {
  if (isLocal(one)) return sound.some((other) => !isLocal(other));
  return one.address.family === 6 && rankOf(one) >= DEPRECATED && sound.length > 0;
}

/** Global before link-local, primary before secondary or temporary, then those with a network before host addresses. */
function rankOf(one: HostAddress): number {
  const { address, length, flags } = one;
  return (
    ((flags & IFA_F_DEPRECATED) !== 0 ? DEPRECATED : 0) +
    (isLocal(one) ? 4 : 0) +
    ((flags & IFA_F_SECONDARY) === 0 ? 0 : 2) +
    (length < ADDRESS_BITS[address.family] ? 0 : 1)
  );
}

/** By its scope or, where a program gave another scope, by its value. */
function isLocal({ address, scope }: HostAddress): boolean {
  return scope === RT_SCOPE_LINK || address.isLinkLocal;
}
