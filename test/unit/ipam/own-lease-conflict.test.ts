/** A lease that another host holds. */

import { describe, expect, it } from "vitest";
import { StoreError } from "../../../ipam/errors.ts";
import { join } from "../../../ipam/leases/join.ts";
import type { LeaseState } from "../../../ipam/leases/lease-state.ts";
import type { OwnLeaseOptions } from "../../../ipam/leases/own-lease.ts";
import { attrs, joinOptions, nodeId, subnets, TTL_SECONDS, value } from "../../support/lease-fixture.ts";
import { endHosts, KEY, lab } from "../../support/own-lease-lab.ts";

endHosts();

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

  it.each(["leases.listCreatedAfter", "records.list"])(
    "is left for one other subnet, however often that fails: %s",
    async (call) => {
      const renumber: { current: OwnLeaseOptions["renumber"] } = { current: null };
      const { clock, store, watched, failNext, takeOver, lease, signal } = await lab({
        renumber: (signal) => renumber.current?.(signal) ?? Promise.reject(new Error()),
      });
      const options = joinOptions(watched, clock, 1, { isRenumbering: true });
      renumber.current = async (signal) => await join(options, await store.feed.list(signal), signal);
      failNext(call);
      await takeOver(value(7));
      await clock.advance(10_000);
      expect(lease.state).toEqual({ state: "held", unpublished: null });
      const keys = (await store.feed.list(signal)).entries.map(({ key }) => key);
      expect(keys.sort()).toEqual([KEY, lease.entry.key].sort());
    },
  );

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
