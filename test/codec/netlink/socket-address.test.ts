/** Socket addresses against the layout of linux/in.h and linux/in6.h. */

import { expect, it } from "vitest";
import {
  decodeSocketAddress,
  encodeSocketAddress,
  MAX_SOCKADDR_BYTES,
} from "../../../backends/netlink/socket-address.ts";
import { Address } from "../../../ipam/addresses/ip.ts";

/** Family, port in network order, then IPv4's address and eight zeros, or IPv6's flow label, address and scope. */
const CASES = [
  ["192.168.50.1", 8472, 0, `0200 2118 c0a83201 ${"00".repeat(8)}`],
  ["192.168.50.1", 0, 7, `0200 0000 c0a83201 ${"00".repeat(8)}`],
  ["fd00:50::1", 8472, 0, `0a00 2118 00000000 fd000050${"00".repeat(11)}01 00000000`],
  ["fe80::1", 0, 7, `0a00 0000 00000000 fe80${"00".repeat(13)}01 07000000`],
] as const;

it.each(CASES)("encodes %s with port %i and scope %i", (text, port, scopeId, bytes) => {
  const address = Address.parse(text);
  const encoded = encodeSocketAddress(address, port, scopeId);
  expect(encoded.toString("hex")).toBe(bytes.replaceAll(" ", ""));
  const padded = Buffer.concat([encoded, Buffer.alloc(MAX_SOCKADDR_BYTES)], MAX_SOCKADDR_BYTES);
  expect(decodeSocketAddress(padded, address.family).equals(address)).toBe(true);
});
