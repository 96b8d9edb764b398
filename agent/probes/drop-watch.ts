/** Watches for what makes this host drop packets, whatever the path: full tables of the kernel, forwarding that is off, a bridge that is down. */

import type { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { type NeighbourTable, readNeighbourTables } from "../../backends/netlink/neighbour-table.ts";
import type { PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import { type Clock, pause } from "../../ipam/clock.ts";
import { type Faults, guarded } from "../../ipam/faults.ts";
import type { Logger } from "../../ipam/log.ts";
import { type Cause, causeOf } from "./causes.ts";
import { ConnectionWatch } from "./connection-watch.ts";
import { forwardingTroubles } from "./forwarding.ts";
import { readConnectionTable } from "./kernel-counters.ts";

const INTERVAL_MS = 10_000;
/** Something that was refused this lately is still a problem. */
const RECENT_MS = 60_000;

export interface DropWatchOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly faults: Faults;
  readonly netlink: NetlinkConnection;
  /** Of whose containers this host forwards the packets. */
  readonly ownSubnets: () => PerFamily<Prefix>;
}

export class DropWatch {
  readonly #options: DropWatchOptions;
  readonly #connections = new ConnectionWatch();
  #troubles: readonly Cause[] = [];
  #refusals: bigint | null = null;
  #refusedMs = Number.NEGATIVE_INFINITY;
  #cutOff: readonly Cause[] = [];

  constructor(options: DropWatchOptions) {
    this.#options = options;
  }

  /** As of the last look. */
  get troubles(): readonly Cause[] {
    return this.#troubles;
  }

  /** Looks every ten seconds until the signal fires. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, faults } = this.#options;
    const look = guarded(faults, "looking for what drops packets on this host", () => this.look());
    while (!signal.aborted) {
      look();
      await pause(clock, INTERVAL_MS, signal);
    }
  }

  /** Takes a look. Throws NetlinkError. */
  look(): void {
    const { clock, netlink, ownSubnets } = this.#options;
    const nowMs = clock.monotonicMs();
    const full = [
      this.#connections.note(readConnectionTable(), nowMs),
      this.#neighbours(readNeighbourTables(netlink), nowMs),
    ];
    const cutOff = this.#lasting(forwardingTroubles(netlink, ownSubnets()));
    this.#change([...full.filter((trouble) => trouble !== null), ...cutOff]);
  }

  /** Entries alone prove nothing: permanent ones do not count. */
  #neighbours(tables: readonly NeighbourTable[], nowMs: number): Cause | null {
    const refusals = tables.reduce((sum, table) => sum + table.refusals, 0n);
    if (this.#refusals !== null && refusals > this.#refusals) this.#refusedMs = nowMs;
    this.#refusals = refusals;
    if (nowMs - this.#refusedMs > RECENT_MS) return null;
    const sizes = tables.map(({ entries, most }) => `${entries} of ${most}`).join(" and ");
    return causeOf(
      "neighbours-full",
      `the table of neighbours is full (${sizes}; ${refusals} refused since the start)`,
    );
  }

  /** What makes the bridge may enable forwarding a moment later: a second look decides. */
  #lasting(troubles: readonly Cause[]): readonly Cause[] {
    const before = this.#cutOff;
    this.#cutOff = troubles;
    return troubles.filter(({ code }) => before.some((one) => one.code === code));
  }

  #change(troubles: readonly Cause[]): void {
    const { logger } = this.#options;
    const had = new Set(this.#troubles.map(({ code }) => code));
    for (const { code, text, remedy } of troubles) {
      if (!had.delete(code)) logger.warn("this host drops packets", { cause: code, seen: text, remedy });
    }
    for (const code of had) logger.info("this host no longer drops packets", { cause: code });
    this.#troubles = troubles;
  }
}
