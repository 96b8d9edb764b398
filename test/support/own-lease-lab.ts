/** A host that keeps its lease on a store in memory, from which it can be cut off. */

import { afterEach } from "vitest";
import { StoreError } from "../../ipam/errors.ts";
import { AllocatingClaimer } from "../../ipam/leases/allocating-claimer.ts";
import { join } from "../../ipam/leases/join.ts";
import type { LeaseState } from "../../ipam/leases/lease-state.ts";
import { OwnLease, type OwnLeaseOptions } from "../../ipam/leases/own-lease.ts";
import type { StoreEntry } from "../../ipam/stores/contracts.ts";
import { FakeClock, settle } from "./fake-clock.ts";
import {
  attrs,
  joinOptions,
  memoryStore,
  networks,
  recordingLogger,
  subnets,
  TTL_SECONDS,
  watchedStore,
} from "./lease-fixture.ts";

export const KEY = "10.2.9.0-24";
const stops: AbortController[] = [];

/** Ends the hosts of each test of a file. */
export function endHosts(): void {
  afterEach(() => {
    for (const stop of stops.splice(0)) stop.abort();
  });
}

/** Host 1 holds KEY and watches the store; the store can be cut off from it. */
export async function lab(overrides: Partial<OwnLeaseOptions> = {}) {
  const stop = new AbortController();
  stops.push(stop);
  const { signal } = stop;
  const clock = new FakeClock();
  const store = memoryStore(clock);
  let isCut = false;
  let failing: string | null = null;
  const { store: watched, calls } = watchedStore(store, async (call) => {
    const isFailing = isCut || call === failing;
    if (call === failing) failing = null;
    if (isFailing) throw new StoreError("cut off", { code: "TULLE_STORE_UNREACHABLE", retryable: true });
  });
  const membership = await join(
    joinOptions(store, clock, 1, { previous: subnets(KEY) }),
    await store.feed.list(signal),
    signal,
  );
  const states: LeaseState[] = [];
  const logger = recordingLogger();
  const lease = new OwnLease(
    {
      claimer: new AllocatingClaimer(joinOptions(watched, clock, 1)),
      feed: watched.feed,
      networks: networks(),
      attrs: attrs(1),
      ttlSeconds: TTL_SECONDS,
      renewMarginSeconds: 10,
      clock,
      logger,
      random: () => 0.5,
      onState: (state) => states.push(state),
      ...overrides,
    },
    membership,
  );
  const watchLease = async (): Promise<void> => {
    for await (const message of store.feed.watch(signal)) if (!isCut) lease.observe(message);
  };
  void watchLease().catch(() => undefined);
  void lease.run(signal);
  await settle();
  const current = async (): Promise<StoreEntry | undefined> =>
    (await store.feed.list(signal)).entries.find(({ key }) => key === KEY);
  const takeOver = async (text: string): Promise<StoreEntry> => {
    const entry = await current();
    if (entry === undefined) return await store.leases.create(KEY, text, 1000, signal);
    return await store.leases.replace(entry, text, 1000, signal);
  };
  return {
    signal,
    clock,
    store,
    watched,
    calls,
    lease,
    states,
    logger,
    membership,
    current,
    takeOver,
    cut: () => {
      isCut = true;
    },
    /** Has the next call of this name fail, such as `leases.create`. */
    failNext: (call: string) => {
      failing = call;
    },
    /** The watch lists again first. */
    mend: async () => {
      isCut = false;
      lease.observe({ type: "list", ...(await store.feed.list(signal)) });
    },
  };
}
