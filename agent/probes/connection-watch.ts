/** Whether the kernel's table of connections is full, or was full between two looks at its counters. Pure. */

import { type Cause, causeOf } from "./causes.ts";
import type { ConnectionTable } from "./kernel-counters.ts";

/** Of the limit: what comes next is dropped. */
const FULL_SHARE = 0.98;
/** A table that was full this lately is still a problem. */
const RECENT_MS = 60_000;

export class ConnectionWatch {
  #forgotten: number | null = null;
  #fullMs = Number.NEGATIVE_INFINITY;

  /**
   * What is wrong with the table, if anything. `nowMs` is monotonic; `table` is null where the kernel tracks no
   * connections.
   *
   * The counter `drop` proves nothing: packets that lose a race for an entry (nf_ct_resolve_clash), as parallel DNS queries
   * behind NAT do, count there too. Connections are forgotten early only while the table is over its limit
   * (linux/net/netfilter/nf_conntrack_core.c, __nf_conntrack_alloc).
   */
  note(table: ConnectionTable | null, nowMs: number): Cause | null {
    if (table === null) return null;
    const { entries, most, dropped, forgotten } = table;
    const isFull = most > 0 && entries >= most * FULL_SHARE;
    if (isFull || (this.#forgotten !== null && forgotten > this.#forgotten)) this.#fullMs = nowMs;
    this.#forgotten = forgotten;
    if (nowMs - this.#fullMs > RECENT_MS) return null;
    const state = isFull ? "is full" : "was full within the last minute";
    const counts = `${dropped} packets dropped and ${forgotten} connections forgotten early since the start`;
    return causeOf("conntrack-full", `the table of connections ${state} (${entries} of ${most}; ${counts})`);
  }
}
