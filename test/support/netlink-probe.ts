/** What this process may do over netlink, as one line of JSON: run by tests in processes with fewer rights. */

import { RtnetlinkPort } from "../../backends/kernel/rtnetlink-port.ts";
import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { NetlinkError } from "../../backends/netlink/errors.ts";
import { decodeLink, encodeGetLink, encodeNewLink } from "../../backends/netlink/link/link.ts";
import { decodeRoute, encodeNewRoute, encodeRouteDump } from "../../backends/netlink/route.ts";
import { NetlinkSocket } from "../../backends/netlink/socket.ts";
import { Address, Prefix } from "../../ipam/addresses/ip.ts";
import { OWN, prepareVxlan, scopeOf } from "./vxlan-fixture.ts";

const connection = NetlinkConnection.open();
const socket = NetlinkSocket.open();
const port = RtnetlinkPort.open();
const backend = prepareVxlan();

const answer = {
  receiveBufferBytes: socket.receiveBufferBytes,
  routes: programRoutes(5000),
  dumped: (await port.dump(scopeOf(backend))).length,
  deviceError: (await port.apply(backend.planBase(OWN).map((object) => ({ op: "create", object }))))[0]
    ?.message,
};
process.stdout.write(`${JSON.stringify(answer)}\n`);
process.exit(0);

/** How many of `count` routes could be made twice, that is with an error for each the second time. */
function programRoutes(count: number): { made: number; refused: number } | string {
  try {
    connection.request(encodeNewLink({ name: "probe0", isUp: true, info: { kind: "bridge" } }));
    const { index } = connection.get(encodeGetLink({ name: "probe0" }), decodeLink);
    const requests = Array.from({ length: count }, (_, at) =>
      encodeNewRoute({
        destination: Prefix.of(Address.of(4, (20n << 24n) + (BigInt(at) << 8n)), 24),
        outputIndex: index,
      }),
    );
    connection.batch(requests);
    const refused = connection.batch(requests).filter((error) => error?.errnoName === "EEXIST").length;
    const made = connection.dump(encodeRouteDump(4, { table: 254, outputIndex: index }), decodeRoute).length;
    return { made, refused };
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    return error.errnoName;
  }
}
