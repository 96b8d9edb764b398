/** Other suites on this machine can make tests lose packets: all namespaces share one table of neighbours. */

import { existsSync, readFileSync } from "node:fs";

/** How many new neighbours the kernel has refused since the boot, as it does while the table is full (table_fulls). */
export function neighbourRefusals(): number {
  const tables = ["arp_cache", "ndisc_cache"].map((name) => `/proc/net/stat/${name}`).filter(existsSync);
  return tables.reduce((sum, path) => sum + refusalsOf(path), 0);
}

/** One line for each processor, in hexadecimal; the first line names the columns (net/core/neighbour.c). */
function refusalsOf(path: string): number {
  const [names = "", ...processors] = readFileSync(path, "utf8").trim().split("\n");
  const column = names.trim().split(/\s+/).indexOf("table_fulls");
  const counts = processors.map((line) => Number.parseInt(line.trim().split(/\s+/)[column] ?? "0", 16));
  return counts.reduce((sum, count) => sum + count, 0);
}
