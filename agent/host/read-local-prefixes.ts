/** What a command's host reaches without the overlay. Reads only; needs no privilege. */

import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { Address } from "../../ipam/addresses/ip.ts";
import type { LocalPrefix } from "../../ipam/addresses/local-prefixes.ts";
import { takeHostSnapshot } from "./host-facts.ts";
import { localPrefixes } from "./local-prefixes.ts";

/** `storeHost` is a name or an address; only an address counts. Throws NetlinkError. */
export function readLocalPrefixes(storeHost: string | null): readonly LocalPrefix[] {
  const connection = NetlinkConnection.open();
  try {
    return localPrefixes(
      takeHostSnapshot(connection),
      storeHost === null ? null : Address.parseOrNull(storeHost),
    );
  } finally {
    connection.close();
  }
}
