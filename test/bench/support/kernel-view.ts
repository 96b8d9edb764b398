/** Looks at the kernel of a benchmark's host from outside the agent: how many entries there are. */

import { NetlinkConnection } from "../../../backends/netlink/connection.ts";
import { decodeLink, encodeGetLink } from "../../../backends/netlink/link/link.ts";
import {
  decodeFdb,
  decodeNeighbour,
  encodeFdbDump,
  encodeNeighbourDump,
} from "../../../backends/netlink/neighbour.ts";
import type { NetnsHandle } from "../../../backends/netlink/netns.ts";
import { decodeRoute, encodeRouteDump, RT_TABLE_MAIN } from "../../../backends/netlink/route.ts";

export class KernelWatcher {
  readonly #connection: NetlinkConnection;
  readonly #device: string;

  /** `netns`: where to look; by default in the benchmark's own namespace. */
  constructor(device: string, netns?: NetnsHandle) {
    this.#connection = NetlinkConnection.open(netns === undefined ? {} : { netns });
    this.#device = device;
  }

  /** Whether the device is there and up; costs the machine next to nothing. */
  get isDeviceUp(): boolean {
    return this.#findDevice() !== null;
  }

  /** Dumps all three tables when the routes are enough in number, so that polling stays cheap. */
  hasPeers(count: number): boolean {
    const device = this.#findDevice();
    if (device === null) return count === 0;
    const routes = this.#connection
      .dump(encodeRouteDump(4, { table: RT_TABLE_MAIN }), decodeRoute)
      .filter(
        ({ table, outputIndex, nexthopId }) =>
          table === RT_TABLE_MAIN && (outputIndex === device || nexthopId !== null),
      );
    if (routes.length !== count) return false;
    const neighbours = this.#connection.dump(encodeNeighbourDump(device), decodeNeighbour);
    const fdb = this.#connection.dump(encodeFdbDump(device), decodeFdb);
    return neighbours.filter(({ address }) => address.family === 4).length === count && fdb.length === count;
  }

  close(): void {
    this.#connection.close();
  }

  #findDevice(): number | null {
    try {
      const link = this.#connection.get(encodeGetLink({ name: this.#device }), decodeLink);
      return (link.flags & 1) === 1 ? link.index : null;
    } catch {
      return null; // not there yet
    }
  }
}
