/** A lease that is kept and changed, by its host and by the store. */

import { describe, expect, it } from "vitest";
import { formatLeaseValue } from "../../../ipam/leases/lease-codec.ts";
import type { StoreEntry } from "../../../ipam/stores/contracts.ts";
import { settle } from "../../support/fake-clock.ts";
import { attrs, TTL_SECONDS, value } from "../../support/lease-fixture.ts";
import { endHosts, lab } from "../../support/own-lease-lab.ts";

endHosts();

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
