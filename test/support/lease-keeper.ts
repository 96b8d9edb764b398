/** One host's lease without the rest of a host: joins over a connection of its own, keeps the lease, and remembers. */

import { systemClock } from "../../ipam/clock.ts";
import { parseNetworkConfig } from "../../ipam/config/network-config-parser.ts";
import { AllocatingClaimer } from "../../ipam/leases/allocating-claimer.ts";
import type { Membership } from "../../ipam/leases/claimer.ts";
import type { LeaseState } from "../../ipam/leases/lease-state.ts";
import { OwnLease } from "../../ipam/leases/own-lease.ts";
import { acquirePatiently } from "../../ipam/leases/patient-claim.ts";
import type { NetworkStore, StoreListing } from "../../ipam/stores/contracts.ts";
import { attrs, networks, recordingLogger } from "./lease-fixture.ts";

export interface KeeperOptions {
  readonly store: NetworkStore;
  /** Makes address, tunnel MAC and node id. */
  readonly number: number;
  readonly ttlSeconds: number;
}

export class LeaseKeeper {
  /** Every change of state since it had joined. */
  readonly states: LeaseState[] = [];
  readonly log = recordingLogger();
  readonly #options: KeeperOptions;
  readonly #stop = new AbortController();
  #lease: OwnLease | null = null;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** Null before it has joined. */
  get key(): string | null {
    return this.#lease?.entry.key ?? null;
  }

  get state(): LeaseState["state"] | "joining" {
    return this.#lease?.state.state ?? "joining";
  }

  /** Joins and keeps the lease until stop(). */
  start(): void {
    this.#run().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) throw error;
    });
  }

  async #run(): Promise<void> {
    const { store, ttlSeconds } = this.#options;
    const { signal } = this.#stop;
    const messages = store.feed.watch(signal)[Symbol.asyncIterator]();
    const { value: listing } = await messages.next();
    if (listing?.type !== "list") return;
    const membership = await this.#join(listing);
    const lease = new OwnLease(
      {
        ...this.#common(),
        networks: networks(),
        ttlSeconds,
        renewMarginSeconds: 1,
        onState: (state) => this.states.push(state),
      },
      membership,
    );
    this.#lease = lease;
    const follow = async (): Promise<void> => {
      for (let next = await messages.next(); !next.done; next = await messages.next())
        lease.observe(next.value);
    };
    await Promise.all([lease.run(signal), follow()]);
  }

  /** The lease stays in the store. */
  stop(): void {
    this.#stop.abort(new Error("stopped by the test"));
  }

  async #join(listing: StoreListing): Promise<Membership> {
    const request = {
      config: parseNetworkConfig(listing.config ?? ""),
      attrs: attrs(this.#options.number),
      previous: null,
      local: [],
    };
    return await acquirePatiently(this.#common(), request, listing, this.#stop.signal);
  }

  #common() {
    const { store, number, ttlSeconds } = this.#options;
    const clock = systemClock;
    const logger = this.log;
    const claimer = new AllocatingClaimer({ store, ttlSeconds, clock, logger });
    return { claimer, feed: store.feed, attrs: attrs(number), clock, logger, random: Math.random };
  }
}
