/** What this host's kernel counts of packets that it drops, whatever the path. Reads /proc only. */

import { readFileSync } from "node:fs";
import { CAUSES, type CauseCode } from "./causes.ts";

export interface LimitTrouble {
  readonly code: CauseCode;
  readonly text: string;
  readonly remedy: string;
}

/** linux/snmp.h LINUX_MIB_IPRPFILTER, as /proc/net/netstat names it. */
const REVERSE_PATH_COUNTER = "IPReversePathFilter";

/** Of the limit: what comes next is dropped. */
const FULL_SHARE = 0.98;

/** The limits that are reached now, which costs packets. What cannot be read is left out: the kernel lacks that table. */
export function limitTroubles(): readonly LimitTrouble[] {
  const connections = readNumber("/proc/sys/net/netfilter/nf_conntrack_count");
  const most = readNumber("/proc/sys/net/netfilter/nf_conntrack_max");
  const isFull = connections !== null && most !== null && most > 0 && connections >= most * FULL_SHARE;
  if (!isFull) return [];
  const dropped = readStatistic("/proc/net/stat/nf_conntrack", "drop");
  const text = `the table of connections is full (${connections} of ${most}, ${dropped} packets dropped so far)`;
  return [{ code: "conntrack-full", text, remedy: CAUSES["conntrack-full"] }];
}

/** How many packets the kernel dropped by reverse path filtering; 0 where it does not count them. */
export function reversePathDrops(): number {
  const lines = (readText("/proc/net/netstat") ?? "").split("\n");
  const [names = [], values = []] = lines
    .filter((line) => line.startsWith("TcpExt:"))
    .map((line) => line.split(" "));
  return Number(values[names.indexOf(REVERSE_PATH_COUNTER)] ?? 0);
}

function readNumber(path: string): number | null {
  const text = readText(path);
  return text === null ? null : Number(text);
}

/** The sum of a column over all processors; the values are hexadecimal (linux/net/netfilter/nf_conntrack_standalone.c). */
function readStatistic(path: string, column: string): number {
  const [header = "", ...rows] = (readText(path) ?? "").trim().split("\n");
  const at = header.trim().split(/\s+/).indexOf(column);
  if (at < 0) return 0;
  return rows.reduce((sum, row) => sum + Number.parseInt(row.trim().split(/\s+/)[at] ?? "0", 16), 0);
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
