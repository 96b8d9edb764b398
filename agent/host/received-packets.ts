/** How much arrives by devices of this host's network namespace. Reads /proc only. */

import { readFileSync } from "node:fs";

/**
 * Packets that these devices have received together since they were made; those that are absent count nothing.
 *
 * @param table in the form of /proc/net/dev (proc_net_dev(5)): two lines of titles, then "NAME: bytes packets …"
 */
export function receivedPackets(
  devices: readonly string[],
  table: string = readFileSync("/proc/net/dev", "utf8"),
): number {
  let packets = 0;
  for (const line of table.split("\n").slice(2)) {
    const end = line.lastIndexOf(":");
    if (devices.includes(line.slice(0, end).trim()))
      packets += Number(
        line
          .slice(end + 1)
          .trim()
          .split(/\s+/)[1],
      );
  }
  return packets;
}
