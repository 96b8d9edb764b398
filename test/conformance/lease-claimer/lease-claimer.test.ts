/**
 * LeaseClaimer (ipam/leases/claimer.ts), checked for hosts that allocate their subnets and for a store that assigns
 * them; and OwnLease, which keeps a lease through either.
 */

import { afterEach, describe, expect, it } from "vitest";
import { AllocatingClaimer } from "../../../ipam/leases/allocating-claimer.ts";
import type { ClaimRequest, LeaseClaimer, Membership } from "../../../ipam/leases/claimer.ts";
import { parseLeaseValue } from "../../../ipam/leases/lease-codec.ts";
import type { LeaseState } from "../../../ipam/leases/lease-state.ts";
import { OwnLease } from "../../../ipam/leases/own-lease.ts";
import { acquirePatiently } from "../../../ipam/leases/patient-claim.ts";
import type { NetworkStore, StoreEntry } from "../../../ipam/stores/contracts.ts";
import { AssigningClaimer, assign } from "../../support/assigning-claimer.ts";
import { FakeClock, settle } from "../../support/fake-clock.ts";
import {
  attrs,
  joinOptions,
  memoryStore,
  network,
  networks,
  recordingLogger,
  TTL_SECONDS,
  value,
} from "../../support/lease-fixture.ts";

/** Two subnets, for host 1 and host 2. */
const TWO =
  '{"Network":"10.2.0.0/16","SubnetLen":24,"SubnetMin":"10.2.1.0","SubnetMax":"10.2.2.0","Backend":{"Type":"vxlan"}}';

interface Implementation {
  readonly name: string;
  claimer(store: NetworkStore, clock: FakeClock, host: number): LeaseClaimer;
  /** Makes host `host` get a subnet, where that takes anything. */
  provide(store: NetworkStore, host: number, signal: AbortSignal): Promise<void>;
  /** Makes sure that the next host gets no subnet; returns what ends that for host 1. */
  exhaust(store: NetworkStore, clock: FakeClock, signal: AbortSignal): Promise<() => Promise<void>>;
}

const IMPLEMENTATIONS: readonly Implementation[] = [
  {
    name: "an allocating claimer",
    claimer: (store, clock, host) => new AllocatingClaimer(joinOptions(store, clock, host)),
    provide: async () => {},
    exhaust: async (store, _clock, signal) => {
      const rival = await store.leases.create("10.2.0.0-18", value(9), 100_000, signal);
      return () => store.leases.remove(rival, signal);
    },
  },
  {
    name: "an assigning claimer",
    claimer: (store, _clock, host) => new AssigningClaimer(store, `host-${host}`),
    provide: (store, host, signal) => assign(store, `host-${host}`, `10.2.${host}.0-24`, signal),
    exhaust: async (store, _clock, signal) => () => assign(store, "host-1", "10.2.1.0-24", signal),
  },
];

const stops: AbortController[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop.abort();
});

describe.each(IMPLEMENTATIONS)("$name", ({ claimer: claimerOf, provide, exhaust }) => {
  async function lab() {
    const stop = new AbortController();
    stops.push(stop);
    const { signal } = stop;
    const clock = new FakeClock();
    const store = memoryStore(clock);
    const request = (host: number, overrides: Partial<ClaimRequest> = {}): ClaimRequest => ({
      config: network(TWO),
      attrs: attrs(host),
      previous: null,
      local: [],
      ...overrides,
    });
    const claimer = (host: number): LeaseClaimer => claimerOf(store, clock, host);
    const acquire = async (host: number): Promise<Membership> =>
      await claimer(host).acquire(request(host), await store.feed.list(signal), signal);
    const inStore = async (key: string): Promise<StoreEntry | undefined> =>
      (await store.feed.list(signal)).entries.find((entry) => entry.key === key);
    return { clock, store, signal, request, claimer, acquire, inStore };
  }

  it("acquires a lease that all hosts can read, and the same one after a restart", async () => {
    const { store, signal, acquire, inStore } = await lab();
    await provide(store, 1, signal);
    const first = await acquire(1);
    expect(await inStore(first.entry.key)).toEqual(first.entry);
    expect(parseLeaseValue(first.entry.value).nodeId).toBe(attrs(1).nodeId);
    const again = await acquire(1);
    expect(again.subnets).toEqual(first.subnets);
  });

  it("gives two hosts subnets that do not overlap", async () => {
    const { store, signal, acquire } = await lab();
    await provide(store, 1, signal);
    await provide(store, 2, signal);
    const [one, two] = [await acquire(1), await acquire(2)];
    expect([one.entry.key, two.entry.key].sort()).toEqual(["10.2.1.0-24", "10.2.2.0-24"]);
  });

  it("fails without a subnet, with a retry that succeeds once there is one", async () => {
    const { store, clock, signal, claimer, request, acquire } = await lab();
    const end = await exhaust(store, clock, signal);
    await expect(acquire(1)).rejects.toMatchObject({ code: "TULLE_NO_FREE_SUBNET", retryable: true });
    const patience = { feed: store.feed, clock, logger: recordingLogger(), random: () => 0.5 };
    const listing = await store.feed.list(signal);
    const options = { ...patience, claimer: claimer(1) };
    const acquiring = acquirePatiently(options, request(1), listing, signal);
    await settle();
    await end();
    await clock.advance(60_000);
    expect((await acquiring).entry.key).toMatch(/^10\.2\.[12]\.0-24$/);
  });

  it("tells in advance whether there is a subnet, and writes nothing", async () => {
    const { store, clock, signal, claimer, request } = await lab();
    const end = await exhaust(store, clock, signal);
    const examine = async () => await claimer(1).examine(request(1), await store.feed.list(signal), signal);
    await expect(examine()).rejects.toMatchObject({ code: "TULLE_NO_FREE_SUBNET", retryable: true });
    await end();
    await provide(store, 1, signal);
    const before = await store.feed.list(signal);
    await examine();
    expect(await store.feed.list(signal)).toEqual(before);
    await claimer(1).acquire(request(1), before, signal);
    await examine();
  });

  it("publishes another value, which expires as before, unless the lease changed", async () => {
    const { store, signal, claimer, acquire, inStore } = await lab();
    await provide(store, 1, signal);
    const { entry } = await acquire(1);
    const moved = await claimer(1).publish(entry, value(1, { ip: "192.168.7.7" }), signal);
    expect(moved.storeLeaseId).toBe(entry.storeLeaseId);
    expect(await inStore(entry.key)).toEqual(moved);
    await expect(claimer(1).publish(entry, value(1), signal)).rejects.toMatchObject({
      code: "TULLE_LEASE_LOST",
    });
  });

  it("keeps a lease until it is gone", async () => {
    const { store, signal, claimer, acquire, inStore } = await lab();
    await provide(store, 1, signal);
    const { entry } = await acquire(1);
    expect(await claimer(1).keep(entry, signal)).toBeGreaterThanOrEqual(TTL_SECONDS);
    const held = await inStore(entry.key);
    if (held) await store.leases.remove(held, signal);
    await expect(claimer(1).keep(entry, signal)).rejects.toMatchObject({ code: "TULLE_LEASE_LOST" });
  });

  it("releases a lease, so that no peer reads this host in it", async () => {
    const { store, signal, claimer, acquire, inStore } = await lab();
    await provide(store, 1, signal);
    const { entry } = await acquire(1);
    await claimer(1).release(entry, signal);
    expect(await inStore(entry.key)).toBeUndefined();
  });

  it("lets OwnLease keep, publish and recover it", async () => {
    const { store, clock, signal, claimer, acquire, inStore } = await lab();
    await provide(store, 1, signal);
    const membership = await acquire(1);
    const states: LeaseState["state"][] = [];
    const lease = new OwnLease(
      {
        claimer: claimer(1),
        feed: store.feed,
        networks: networks(),
        attrs: attrs(1),
        ttlSeconds: TTL_SECONDS,
        renewMarginSeconds: 10,
        clock,
        logger: recordingLogger(),
        random: () => 0.5,
        onState: ({ state }) => states.push(state),
      },
      membership,
    );
    void lease.run(signal);
    void (async () => {
      for await (const message of store.feed.watch(signal)) lease.observe(message);
    })();
    await clock.advance(10 * TTL_SECONDS * 1000);
    expect(states).toEqual([]);
    lease.publish(attrs(1, { ip: "192.168.7.7" }));
    await clock.advance(1000);
    expect((await inStore(lease.entry.key))?.value).toContain("192.168.7.7");
    const held = await inStore(lease.entry.key);
    if (held) await store.leases.remove(held, signal);
    await clock.advance(100);
    await clock.advance(10_000);
    expect(states).toContain("lost");
    expect(lease.state).toEqual({ state: "held", unpublished: null });
    expect((await inStore(lease.entry.key))?.value).toContain("192.168.7.7");
  });
});
