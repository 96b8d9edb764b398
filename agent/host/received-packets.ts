/** How much arrives by devices of this host's network namespace. Reads /proc only. */

import { readFileSync } from "node:fs";

/** In the form of proc_net_dev(5): two lines of titles, then "NAME: bytes packets …". */
const TABLE = "/proc/net/dev";

/**
 * Packets that these devices have received together since they were made; those that are absent count nothing. Null where
 * the table cannot be read, as by a process without a free descriptor.
 */
export function receivedPackets(devices: readonly string[], path = TABLE): number | null {
  const table = readText(path);
  if (table === null) return null;
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

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
