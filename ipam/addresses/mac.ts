/** Ethernet hardware addresses (EUI-48) as canonical text: lower-case hexadecimal pairs with colons. */

import { AddressError } from "../errors.ts";

declare const macBrand: unique symbol;

/** `aa:bb:cc:dd:ee:ff`, always canonical, so that `===` compares. */
export type Mac = string & { readonly [macBrand]: true };

const CANONICAL = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/;

const DOTTED = /^([0-9a-f]{4}\.){2}[0-9a-f]{4}$/;

/** Parses `aa:bb:cc:dd:ee:ff`, `aa-bb-cc-dd-ee-ff` and `aabb.ccdd.eeff`, as Go's net.ParseMAC does. Throws AddressError. */
export function parseMac(text: string): Mac {
  if (CANONICAL.test(text)) return text as Mac;
  const lower = text.toLowerCase();
  const pairs = DOTTED.test(lower) ? lower.match(/[0-9a-f]{2}/g)?.join(":") : undefined;
  const canonical = pairs ?? lower.replaceAll("-", ":");
  if (!CANONICAL.test(canonical)) {
    throw new AddressError(`"${text}" is not a MAC address`);
  }
  return canonical as Mac;
}

/** Reads six bytes. Throws AddressError for any other length. */
export function macFromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) throw new AddressError(`a MAC address has 6 bytes, not ${bytes.length}`);
  let text = "";
  for (let index = 0; index < 6; index++) {
    const byte = bytes[index] ?? 0;
    text += (index === 0 ? "" : ":") + (byte < 16 ? "0" : "") + byte.toString(16);
  }
  return text as Mac;
}

/** True for group addresses: the lowest bit of the first byte is set (IEEE 802-2014 §8.2.2). */
export function isMulticastMac(mac: Mac): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
}

/** True for an address that one interface can have: neither a group address nor all zero (is_valid_ether_addr). */
export function isInterfaceMac(mac: Mac): boolean {
  return !isMulticastMac(mac) && mac !== "00:00:00:00:00:00";
}

/**
 * A unicast, locally administered address made of the first six bytes of `seed` (a digest).
 * The same seed gives the same address.
 */
export function localMacFromSeed(seed: Uint8Array): Mac {
  const bytes = seed.slice(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return macFromBytes(bytes);
}
