/** What this host's kernel counts of packets that it drops, whatever the path. Reads /proc only. */

import { readFileSync } from "node:fs";

/** Since the namespace was created. */
export interface DropCounters {
  /** By reverse path filtering. */
  readonly reversePath: number;
  /** Segments of TCP with a wrong checksum. */
  readonly tcpChecksum: number;
}

/** linux/snmp.h, as /proc/net/netstat and /proc/net/snmp name them. */
export function readDropCounters(): DropCounters {
  return {
    reversePath: readCounter("/proc/net/netstat", "TcpExt:", "IPReversePathFilter"),
    tcpChecksum: readCounter("/proc/net/snmp", "Tcp:", "InCsumErrors"),
  };
}

export interface ConnectionTable {
  readonly entries: number;
  readonly most: number;
  /** Packets of new connections that were dropped since the namespace was created, for want of room or for other reasons. */
  readonly dropped: number;
  /** Connections without an answer that were forgotten early, to make room for new ones. */
  readonly forgotten: number;
}

/** Null where the kernel tracks no connections. */
export function readConnectionTable(): ConnectionTable | null {
  const entries = readNumber("/proc/sys/net/netfilter/nf_conntrack_count");
  const most = readNumber("/proc/sys/net/netfilter/nf_conntrack_max");
  if (entries === null || most === null) return null;
  const [dropped, forgotten] = ["drop", "early_drop"].map((name) =>
    readStatistic("/proc/net/stat/nf_conntrack", name),
  );
  return { entries, most, dropped: dropped ?? 0, forgotten: forgotten ?? 0 };
}

/** A counter in two lines of names and values; 0 where the kernel does not count it. */
function readCounter(path: string, prefix: string, name: string): number {
  const [names = [], values = []] = (readText(path) ?? "")
    .split("\n")
    .filter((line) => line.startsWith(prefix))
    .map((line) => line.split(" "));
  return Number(values[names.indexOf(name)] ?? 0);
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
