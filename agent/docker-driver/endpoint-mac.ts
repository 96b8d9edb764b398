/** The hardware address of a container's interface, made from its address: a container that keeps one keeps both. */

import { type Address, entriesOf, type PerFamily } from "../../ipam/addresses/ip.ts";
import { localMacFromSeed, type Mac, macFromBytes } from "../../ipam/addresses/mac.ts";

/** As Docker makes them: 02:42 and the IPv4 address; with IPv6 alone, its last six bytes. */
export function macOfAddress(addresses: PerFamily<Address>): Mac {
  const [first] = entriesOf(addresses);
  if (first === undefined) throw new RangeError("an endpoint has an address");
  const [family, address] = first;
  const bytes = address.toBytes();
  return family === 4 ? macFromBytes(Uint8Array.of(0x02, 0x42, ...bytes)) : localMacFromSeed(bytes.slice(-6));
}
