/** `struct sockaddr_in` (linux/in.h) and `struct sockaddr_in6` (linux/in6.h). No I/O. */

import { Address, type Family } from "../../ipam/addresses/ip.ts";
import { AF_OF } from "./rtnetlink.ts";

export const SOCKADDR_BYTES: Readonly<Record<Family, number>> = { 4: 16, 6: 28 };
/** Room for either. */
export const MAX_SOCKADDR_BYTES = 28;

const ADDRESS_AT: Readonly<Record<Family, number>> = { 4: 4, 6: 8 };
const SCOPE_ID_AT = 24;

/** `scopeId` is the index of an interface, for IPv6 alone; 0 for none. */
export function encodeSocketAddress(address: Address, port = 0, scopeId = 0): Buffer {
  const { family } = address;
  const bytes = Buffer.alloc(SOCKADDR_BYTES[family]);
  bytes.writeUInt16LE(AF_OF[family], 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(address.toBytes(), ADDRESS_AT[family]);
  if (family === 6) bytes.writeUInt32LE(scopeId, SCOPE_ID_AT);
  return bytes;
}

/** The address in a structure of this family, which may be followed by other bytes. */
export function decodeSocketAddress(bytes: Buffer, family: Family): Address {
  const at = ADDRESS_AT[family];
  return Address.fromBytes(bytes.subarray(at, at + (family === 4 ? 4 : 16)));
}
