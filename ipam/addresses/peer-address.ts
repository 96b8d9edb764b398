/**
 * Which addresses can be a host's public address: the one rule for peers' leases, reservations and flags. Pure.
 *
 * The reasons complete the sentence "address A …".
 */

import { type Address, type Family, Prefix } from "./ip.ts";

/** What no host can be reached at (RFC 6890, RFC 4291), with the words for it. */
const UNREACHABLE: Readonly<Record<Family, readonly (readonly [Prefix, string])[]>> = {
  4: [
    [Prefix.parse("0.0.0.0/8"), 'is in 0.0.0.0/8, which means "this host"'],
    [Prefix.parse("127.0.0.0/8"), "is a loopback address"],
    [Prefix.parse("169.254.0.0/16"), "is a link-local address"],
    [Prefix.parse("224.0.0.0/4"), "is a multicast address"],
    [Prefix.parse("255.255.255.255/32"), "is the broadcast address"],
    [Prefix.parse("240.0.0.0/4"), "is in the reserved range 240.0.0.0/4"],
  ],
  6: [
    [Prefix.parse("::/128"), "is the unspecified address"],
    [Prefix.parse("::1/128"), "is the loopback address"],
    [Prefix.parse("::ffff:0:0/96"), "is an IPv4-mapped address"],
    [Prefix.parse("::/96"), "is an IPv4-compatible address, which RFC 4291 deprecates"],
    [Prefix.parse("fe80::/10"), "is a link-local address"],
    [Prefix.parse("ff00::/8"), "is a multicast address"],
  ],
};

/** A fast path for nearly every address: a start checks thousands of them. */
function isOrdinary({ family, value }: Address): boolean {
  const first = family === 4 ? Number(value >> 24n) : 0;
  return first > 0 && first < 224 && first !== 127 && first !== 169;
}

/** Why no host can have `address` as its public address; null when one can. */
export function publicAddressProblem(address: Address): string | null {
  if (isOrdinary(address)) return null;
  const found = UNREACHABLE[address.family].find(([range]) => range.contains(address));
  return found === undefined ? null : found[1];
}
