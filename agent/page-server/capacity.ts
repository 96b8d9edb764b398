/**
 * How many readers the page has room for. They take half of the process's descriptors at most: with none left, the
 * network could neither be repaired nor followed.
 */

import { readForeignFile } from "../../ipam/files/read.ts";

export interface Capacity {
  readonly watchers: number;
  /** Beside the watchers: browsers that load the page. */
  readonly others: number;
}

const MOST_WATCHERS = 1_000;
const MOST_OTHERS = 64;

/** Of this process. */
export function ownCapacity(): Capacity {
  return capacityOf(readForeignFile("/proc/self/limits") ?? "");
}

/** `limits` as proc_pid_limits(5) describes it; one without a number sets no bound. */
export function capacityOf(limits: string): Capacity {
  const descriptors = Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
  const connections = Math.min(MOST_WATCHERS + MOST_OTHERS, Math.floor(descriptors / 2));
  const others = Math.min(MOST_OTHERS, Math.ceil(connections / 4));
  return { watchers: connections - others, others };
}
