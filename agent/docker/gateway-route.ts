/** Finds a route that sends packets for Docker's subnet through a gateway. Reads only. */

import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { decodeRoute, encodeRouteDump, RT_TABLE_MAIN } from "../../backends/netlink/route.ts";
import type { Address, Prefix } from "../../ipam/addresses/ip.ts";

/** The gateway of the main table's route to exactly `subnet`, null when there is none: `ip route show exact`. */
export function findGateway(subnet: Prefix): Address | null {
  const connection = NetlinkConnection.open();
  try {
    const routes = connection.dump(encodeRouteDump(subnet.family, { table: RT_TABLE_MAIN }), decodeRoute);
    return routes.find(({ destination }) => destination.equals(subnet))?.gateway ?? null;
  } finally {
    connection.close();
  }
}
