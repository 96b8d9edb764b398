/** How a lease is kept, lost and got back, on a store in memory and a clock that stands still. */

import { afterEach, describe, expect, it } from "vitest";
import { StoreError } from "../../../ipam/errors.ts";
import { AllocatingClaimer } from "../../../ipam/leases/allocating-claimer.ts";
import { join } from "../../../ipam/leases/join.ts";
import { formatLeaseValue } from "../../../ipam/leases/lease-codec.ts";
import type { LeaseState } from "../../../ipam/leases/lease-state.ts";
import { OwnLease, type OwnLeaseOptions } from "../../../ipam/leases/own-lease.ts";
import type { StoreEntry } from "../../../ipam/stores/contracts.ts";
import { FakeClock, settle } from "../../support/fake-clock.ts";
import {
  attrs,
  joinOptions,
  memoryStore,
  networks,
  nodeId,
  recordingLogger,
  subnets,
  TTL_SECONDS,
  value,
  watchedStore,
} from "../../support/lease-fixture.ts";

const KEY = "10.2.9.0-24";
const stops: AbortController[] = [];

afterEach(() => {
  for (const stop of stops.splice(0)) stop.abort();
});

/** Host 1 holds KEY and watches the store; the store can be cut off from it. */
async function lab(overrides: Partial<OwnLeaseOptions> = {}) {
  const stop = new AbortController();
  stops.push(stop);
  const { signal } = stop;
  const clock = new FakeClock();
  const store = memoryStore(clock);
  let isCut = false;
  const { store: watched, calls } = watchedStore(store, async () => {
    if (isCut) throw new StoreError("cut off", { code: "TULLE_STORE_UNREACHABLE", retryable: true });
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
    /** The watch lists again first. */
    mend: async () => {
      isCut = false;
      lease.observe({ type: "list", ...(await store.feed.list(signal)) });
    },
  };
}

describe("a lease that is kept", () => {
  it("is extended at a third of its time, and asks the store nothing else", async () => {
    const { clock, calls, lease, membership } = await lab();
    await clock.advance(19_900);
    expect(calls).toEqual([]);
    await clock.advance(200);
    expect(calls).toEqual(["leases.keepAlive"]);
    expect(lease.deadlineMs).toBe(membership.deadlineMs + 20_000);
    await clock.advance(600_000);
    expect(calls).toHaveLength(31);
    expect(new Set(calls)).toEqual(new Set(["leases.keepAlive"]));
    expect(lease.state).toEqual({ state: "held", unpublished: null });
  });

  it("is extended sooner when the margin asks for it", async () => {
    const { clock, calls } = await lab({ renewMarginSeconds: 50 });
    await clock.advance(10_100);
    expect(calls).toEqual(["leases.keepAlive"]);
  });

  it("is extended at a third where the margin is longer than its time", async () => {
    const { clock, calls } = await lab({ renewMarginSeconds: 3600 });
    await clock.advance(20_100);
    expect(calls).toEqual(["leases.keepAlive"]);
  });

  it("is extended in time with a store lease that is shorter than ours", async () => {
    const { clock, store, signal, current, lease, states } = await lab();
    const entry = (await current()) as StoreEntry;
    const short = await store.leases.replace(entry, entry.value, TTL_SECONDS / 4, signal);
    await clock.advance(10 * TTL_SECONDS * 1000);
    expect(states).toEqual([]);
    expect(lease.state).toEqual({ state: "held", unpublished: null });
    expect(await current()).toEqual(short);
  });

  it("outlives an outage shorter than its time without a change of state", async () => {
    const { clock, cut, mend, states, current } = await lab();
    cut();
    await clock.advance(45_000);
    await mend();
    await clock.advance(10_000);
    expect(states).toEqual([]);
    expect(await current()).toBeDefined();
  });

  it("does not notice the wall clock", async () => {
    const { clock, states } = await lab();
    const { now } = Date;
    try {
      for (const dayMs of [86_400_000, -86_400_000]) {
        Date.now = () => now() + dayMs;
        await clock.advance(100_000);
      }
    } finally {
      Date.now = now;
    }
    expect(states).toEqual([]);
  });

  it("tells others of a new address under the same key", async () => {
    const { clock, lease, current, calls } = await lab();
    const moved = attrs(1, { ip: "192.168.9.9" });
    lease.publish(moved);
    await settle();
    expect((await current())?.value).toBe(formatLeaseValue(moved));
    expect(lease.state).toEqual({ state: "held", unpublished: null });
    await clock.advance(1000);
    expect(calls).toEqual(["leases.replace"]);
  });

  it("tells others later when the store is away", async () => {
    const { clock, lease, cut, mend, current } = await lab();
    const moved = attrs(1, { ip: "192.168.9.9" });
    cut();
    lease.publish(moved);
    await clock.advance(5_000);
    await mend();
    await clock.advance(10_000);
    expect((await current())?.value).toBe(formatLeaseValue(moved));
  });

  it("puts its own words back when somebody edits them", async () => {
    const { clock, takeOver, current, lease } = await lab();
    await takeOver(value(1, { backendData: {} }));
    await clock.advance(1000);
    expect((await current())?.value).toBe(value(1));
    expect(lease.state).toEqual({ state: "held", unpublished: null });
  });
});

describe("a reservation", () => {
  it("never ends and is never asked for", async () => {
    const { clock, store, signal, lease, current, calls } = await lab();
    const entry = await current();
    if (entry === undefined) throw new Error("no lease");
    await store.leases.replace(entry, entry.value, Number.POSITIVE_INFINITY, signal);
    await settle();
    expect(lease.deadlineMs).toBe(Number.POSITIVE_INFINITY);
    await clock.advance(10 * TTL_SECONDS * 1000);
    expect(calls.filter((call) => call !== "leases.keepAlive")).toEqual([]);
    expect((await current())?.storeLeaseId).toBeNull();
  });

  /** Makes a reservation of the lease, as an administrator does, and ends it again. */
  async function reserveAndRelease({ store, signal, current, clock }: Awaited<ReturnType<typeof lab>>) {
    for (const ttl of [Number.POSITIVE_INFINITY, TTL_SECONDS]) {
      const entry = await current();
      if (entry === undefined) throw new Error("no lease");
      await store.leases.replace(entry, entry.value, ttl, signal);
      await clock.advance(ttl === TTL_SECONDS ? 0 : 10 * TTL_SECONDS * 1000);
    }
  }

  it("becomes a lease again when somebody ends it", async () => {
    const parts = await lab();
    const { clock, lease, current } = parts;
    await reserveAndRelease(parts);
    await clock.advance(1000);
    expect(lease.deadlineMs).toBeLessThanOrEqual(clock.monotonicMs() + TTL_SECONDS * 1000);
    await clock.advance(10 * TTL_SECONDS * 1000);
    expect(await current()).toBeDefined();
  });

  it("is lost at its end like any lease once somebody has ended it", async () => {
    const parts = await lab();
    await reserveAndRelease(parts);
    parts.cut();
    await parts.clock.advance(TTL_SECONDS * 1000 + 1);
    expect(parts.lease.state).toMatchObject({ state: "lost" });
  });
});

describe("a lease that is lost", () => {
  it("is created again when somebody deletes its key", async () => {
    const { clock, store, signal, current, lease, states, calls } = await lab();
    const entry = await current();
    if (entry === undefined) throw new Error("no lease");
    await store.leases.remove(entry, signal);
    await clock.advance(200);
    expect((await current())?.value).toBe(value(1));
    expect(states.map(({ state }) => state)).toEqual(["lost", "held"]);
    expect(calls).toEqual(["leases.create", "leases.listCreatedAfter"]);
    expect(lease.deadlineMs).toBeGreaterThan(clock.monotonicMs() + 59_000);
  });

  it("is noticed at its deadline although the store never answers", async () => {
    const { clock, cut, states, lease, membership } = await lab();
    cut();
    await clock.advance(membership.deadlineMs - clock.monotonicMs() - 1);
    expect(states).toEqual([]);
    await clock.advance(1);
    expect(lease.state).toMatchObject({ state: "lost" });
  });

  it("is noticed at its deadline although a call hangs", async () => {
    const never = new Promise<void>(() => undefined);
    const { clock, store, membership, signal } = await lab();
    const { store: hanging } = watchedStore(store, () => never);
    const states: LeaseState[] = [];
    const lease = new OwnLease(
      {
        claimer: new AllocatingClaimer(joinOptions(hanging, clock, 1)),
        feed: hanging.feed,
        networks: networks(),
        attrs: attrs(1),
        ttlSeconds: TTL_SECONDS,
        renewMarginSeconds: 10,
        clock,
        logger: recordingLogger(),
        random: () => 0.5,
        onState: (state) => states.push(state),
      },
      membership,
    );
    void lease.run(signal);
    await clock.advance(TTL_SECONDS * 1000);
    expect(states.map(({ state }) => state)).toEqual(["lost"]);
  });

  it("comes back after an outage longer than its time", async () => {
    const { clock, cut, mend, states, current } = await lab();
    cut();
    await clock.advance(100_000);
    expect(await current()).toBeUndefined();
    await mend();
    await clock.advance(6_000);
    expect(await current()).toMatchObject({ value: value(1) });
    expect(states.map(({ state }) => state)).toEqual(["lost", "held"]);
  });

  it("comes back by a swap when the store kept it longer than promised", async () => {
    const { clock, cut, mend, store, signal, current, states, calls } = await lab();
    const entry = await current();
    if (entry === undefined) throw new Error("no lease");
    cut();
    const kept = await store.leases.replace(entry, entry.value, 1000, signal);
    await clock.advance(100_000);
    calls.length = 0;
    await mend();
    await clock.advance(6_000);
    expect(states.map(({ state }) => state)).toEqual(["lost", "held"]);
    expect(await current()).toMatchObject({ createRevision: kept.createRevision });
    expect(calls).toEqual(["leases.replace", "leases.listCreatedAfter"]);
  });

  it("is noticed by a process that was stopped beyond its deadline", async () => {
    const { clock, states, current } = await lab();
    await clock.jump(100_000);
    await clock.advance(1000);
    expect(states[0]).toMatchObject({ state: "lost" });
    expect(states.at(-1)).toEqual({ state: "held", unpublished: null });
    expect(await current()).toMatchObject({ value: value(1) });
  });

  it("is noticed by the answer to a renewal when the watch is silent", async () => {
    const { clock, store, signal, cut, mend, current, states } = await lab();
    const entry = await current();
    if (entry === undefined) throw new Error("no lease");
    cut();
    await store.leases.remove(entry, signal);
    await settle();
    await mend();
    await clock.advance(21_000);
    expect(states.map(({ state }) => state)).toEqual(["lost", "held"]);
  });

  it("is said once, whatever the number of attempts", async () => {
    const { clock, cut, logger } = await lab();
    cut();
    await clock.advance(3_600_000);
    expect(logger.lines.filter(({ level }) => level === "error")).toHaveLength(1);
    expect(logger.lines.filter(({ level }) => level === "warn").length).toBeLessThan(5);
  });

  it("is not regained over an older lease that overlaps it by now", async () => {
    const { clock, cut, mend, store, signal, lease, current, calls } = await lab();
    cut();
    await clock.advance(100_000);
    const rival = await store.leases.create("10.2.8.0-23", value(7), 100_000, signal);
    await mend();
    await clock.advance(10_000);
    expect(lease.state).toMatchObject({ state: "conflict", conflict: "overlap" });
    expect(await current()).toBeUndefined();
    calls.length = 0;
    await clock.advance(40_000);
    expect(calls).toEqual(["feed.list", "feed.list"]);
    await store.leases.remove(rival, signal);
    await clock.advance(200);
    expect(lease.state).toEqual({ state: "held", unpublished: null });
  });
});

describe("a lease that another host holds", () => {
  it.each([
    ["other host", value(7), nodeId(7), "192.168.0.7", "--on-lease-lost=renumber"],
    ["same address", value(7, { ip: "192.168.0.1" }), nodeId(7), "192.168.0.1", "-public-ip"],
    ["same address", value(1, { nodeId: null }), "flanneld", "192.168.0.1", "-public-ip"],
    ["copied identity", value(1, { ip: "192.168.0.7" }), nodeId(1), "192.168.0.7", "new identity"],
    ["other host", "damaged", "cannot be read", "192.168.0.1", "delete the key"],
  ])("is never taken back: %s", async (conflict, theirs, who, where, remedy) => {
    const { clock, takeOver, lease, current, states, calls, logger } = await lab();
    const taken = await takeOver(theirs);
    await clock.advance(200);
    expect(lease.state).toMatchObject({ state: "conflict", conflict });
    const { reason } = lease.state as Extract<LeaseState, { reason: string }>;
    for (const part of [who, where, nodeId(1), "192.168.0.1", remedy]) expect(reason).toContain(part);
    await clock.advance(600_000);
    expect(await current()).toEqual(taken);
    expect(states).toHaveLength(1);
    expect(new Set(calls)).toEqual(new Set(["feed.list"]));
    expect(calls.length).toBeLessThan(35);
    expect(logger.lines.filter(({ level }) => level === "error")).toHaveLength(1);
  });

  it("is asked for again as soon as its key is free", async () => {
    const { clock, store, signal, takeOver, lease, current } = await lab();
    const taken = await takeOver(value(7));
    await clock.advance(1000);
    await store.leases.remove(taken, signal);
    await clock.advance(200);
    expect(lease.state).toEqual({ state: "held", unpublished: null });
    expect((await current())?.value).toBe(value(1));
  });

  it("is yielded on return by a host that was cut off for long", async () => {
    const { clock, cut, mend, takeOver, lease, current } = await lab();
    cut();
    await clock.advance(100_000);
    const taken = await takeOver(value(7));
    await mend();
    await clock.advance(100_000);
    expect(lease.state).toMatchObject({ state: "conflict", conflict: "other host" });
    expect(await current()).toEqual(taken);
  });

  it("is left for another subnet when that is wanted", async () => {
    const renumber: { current: OwnLeaseOptions["renumber"] } = { current: null };
    const parts = await lab({
      renumber: (signal) => renumber.current?.(signal) ?? Promise.reject(new Error()),
    });
    const { clock, store, takeOver, lease, current, states } = parts;
    renumber.current = async (signal) =>
      await join(
        joinOptions(store, clock, 1, { isRenumbering: true }),
        await store.feed.list(signal),
        signal,
      );
    const taken = await takeOver(value(7));
    await clock.advance(1000);
    expect(lease.state).toEqual({ state: "held", unpublished: null });
    expect(lease.entry.key).not.toBe(KEY);
    expect(lease.subnets).toEqual(subnets(lease.entry.key));
    expect(await current()).toEqual(taken);
    await clock.advance(10 * TTL_SECONDS * 1000);
    expect((await store.feed.list(parts.signal)).entries).toHaveLength(2);
    expect(states.map(({ state }) => state)).toEqual(["conflict", "held"]);
  });

  it("is not left when another subnet would not help", async () => {
    let renumberings = 0;
    const { clock, takeOver, lease } = await lab({
      renumber: () => {
        renumberings += 1;
        return Promise.reject(new Error("not here"));
      },
    });
    await takeOver(value(7, { ip: "192.168.0.1" }));
    await clock.advance(100_000);
    expect(renumberings).toBe(0);
    expect(lease.state).toMatchObject({ conflict: "same address" });
  });

  it("is judged again once this host has another address", async () => {
    let renumberings = 0;
    const { clock, takeOver, lease, calls } = await lab({
      renumber: () => {
        renumberings += 1;
        return Promise.reject(new StoreError("not now", { retryable: true }));
      },
    });
    await takeOver(value(7, { ip: "192.168.0.1" }));
    await clock.advance(1000);
    expect(lease.state).toMatchObject({ conflict: "same address" });
    lease.publish(attrs(1, { ip: "192.168.0.55" }));
    await clock.advance(1000);
    expect(lease.state).toMatchObject({ state: "conflict", conflict: "other host" });
    expect(renumberings).toBeGreaterThan(0);
    expect(calls).toContain("feed.list");
  });

  it("is held again once this host has the address that its copy was thought to have", async () => {
    const { clock, takeOver, lease } = await lab();
    await takeOver(value(1, { ip: "192.168.0.55" }));
    await clock.advance(1000);
    expect(lease.state).toMatchObject({ conflict: "copied identity" });
    lease.publish(attrs(1, { ip: "192.168.0.55" }));
    await clock.advance(1000);
    expect(lease.state).toEqual({ state: "held", unpublished: null });
  });

  it("is held again when its own words stand there again", async () => {
    const { clock, takeOver, lease } = await lab();
    await takeOver(value(7));
    await clock.advance(1000);
    await takeOver(value(1));
    await clock.advance(1000);
    expect(lease.state).toEqual({ state: "held", unpublished: null });
  });
});

describe("messages out of time", () => {
  it("change nothing: a listing and a deletion older than the lease", async () => {
    const { clock, lease, states, calls, membership } = await lab();
    const revision = membership.entry.revision - 1n;
    lease.observe({ type: "list", revision, entries: [], config: null });
    lease.observe({ type: "changes", revision, changes: [{ type: "delete", key: KEY, revision }] });
    lease.observe({
      type: "changes",
      revision: revision + 5n,
      changes: [{ type: "delete", key: KEY, revision }],
    });
    await clock.advance(1000);
    expect(states).toEqual([]);
    // The listing might have been that of a restored store.
    expect(calls).toEqual(["feed.list"]);
  });
});

describe("an answer that got lost", () => {
  it("to a change of ours is no loss, although the key is another than expected", async () => {
    const { clock, store, signal, lease, states, current } = await lab();
    const moved = attrs(1, { ip: "192.168.7.7" });
    const entry = await current();
    if (entry === undefined) throw new Error("no lease");
    // What the watch would tell comes too late.
    lease.observe = () => undefined;
    await store.leases.replace(entry, formatLeaseValue(moved), null, signal);
    lease.publish(moved);
    await clock.advance(1000);
    expect(states.every(({ state }) => state === "held")).toBe(true);
    expect(lease.state).toEqual({ state: "held", unpublished: null });
    expect((await current())?.value).toBe(formatLeaseValue(moved));
    expect(lease.entry.revision).toBe((await current())?.revision);
  });
});

describe("a change that the store does not take", () => {
  it("is reported with the store's reason until the store takes it", async () => {
    const { clock, cut, mend, lease, states, current } = await lab();
    cut();
    lease.publish(attrs(1, { ip: "192.168.7.7" }));
    await clock.advance(3000);
    expect(lease.state).toEqual({ state: "held", unpublished: expect.stringContaining("cut") });
    mend();
    await clock.advance(3000);
    expect(lease.state).toEqual({ state: "held", unpublished: null });
    expect(states.at(-1)).toEqual(lease.state);
    expect((await current())?.value).toContain("192.168.7.7");
  });

  it("neither hinders the renewal nor is hidden by it", async () => {
    const { clock, lease, store, membership } = await lab();
    store.leases.replace = () => Promise.reject(new Error("etcdserver: mvcc: database space exceeded"));
    lease.publish(attrs(1, { ip: "192.168.7.7" }));
    await clock.advance(membership.deadlineMs - clock.monotonicMs() + 5_000);
    expect(lease.state).toMatchObject({
      state: "held",
      unpublished: expect.stringContaining("space exceeded"),
    });
  });
});
