/** A lease that is lost and recovered, and messages of the store that come too late. */

import { describe, expect, it } from "vitest";
import { AllocatingClaimer } from "../../../ipam/leases/allocating-claimer.ts";
import { formatLeaseValue } from "../../../ipam/leases/lease-codec.ts";
import type { LeaseState } from "../../../ipam/leases/lease-state.ts";
import { OwnLease } from "../../../ipam/leases/own-lease.ts";
import { settle } from "../../support/fake-clock.ts";
import {
  attrs,
  joinOptions,
  networks,
  recordingLogger,
  TTL_SECONDS,
  value,
  watchedStore,
} from "../../support/lease-fixture.ts";
import { endHosts, KEY, lab } from "../../support/own-lease-lab.ts";

endHosts();

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

  it("is not regained over such a lease when the store fails after the key was created again", async () => {
    const { clock, cut, mend, failNext, store, signal, lease, current } = await lab();
    cut();
    await clock.advance(100_000);
    await store.leases.create("10.2.8.0-23", value(7), 100_000, signal);
    failNext("leases.listCreatedAfter");
    await mend();
    await clock.advance(10_000);
    expect(lease.state).toMatchObject({ state: "conflict", conflict: "overlap" });
    expect(await current()).toBeUndefined();
  });

  it("is not regained over a lease that was younger before it was lost", async () => {
    const { clock, store, signal, lease, current } = await lab();
    await store.leases.create("10.2.8.0-23", value(7, { nodeId: null }), 100_000, signal);
    lease.publish(attrs(1, { ip: "192.168.0.55" }));
    await clock.advance(1000);
    const entry = await current();
    if (entry === undefined) throw new Error("no lease");
    await store.leases.remove(entry, signal);
    await clock.advance(1000);
    expect(lease.state).toMatchObject({ state: "conflict", conflict: "overlap" });
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
