/** What a host makes of leases and subnets that it had. */

import { describe, expect, it } from "vitest";
import { recordAffinity } from "../../../ipam/leases/affinity.ts";
import { join } from "../../../ipam/leases/join.ts";
import { parseLeaseValue } from "../../../ipam/leases/lease-codec.ts";
import { FOREVER, lab, networkOf, signal } from "../../support/join-lab.ts";
import { attrs, joinOptions, nodeId, TTL_SECONDS, value, watchedStore } from "../../support/lease-fixture.ts";

describe("a host that had a lease", () => {
  it("keeps it without a write when nothing changed", async () => {
    const { clock, store, enter } = lab();
    const first = await enter(1);
    await clock.advance(10_000);
    const { store: watched, calls } = watchedStore(store);
    const again = await join(joinOptions(watched, clock, 1), await store.feed.list(signal), signal);
    expect(again).toEqual({
      ...first,
      origin: "kept",
      deadlineMs: clock.monotonicMs() + TTL_SECONDS * 1000,
    });
    expect(calls).toEqual(["leases.keepAlive"]);
  });

  it("moves it with a new address, in the same store lease", async () => {
    const { store, enter } = lab();
    const first = await enter(1);
    const again = await enter(1, { attrs: attrs(1, { ip: "192.168.9.9" }) });
    expect(again).toMatchObject({ origin: "kept", entry: { key: first.entry.key } });
    expect(again.entry.storeLeaseId).toBe(first.entry.storeLeaseId);
    expect(
      parseLeaseValue((await store.feed.list(signal)).entries[0]?.value ?? "").publicAddress[4]?.toString(),
    ).toBe("192.168.9.9");
  });

  it("gives it another time to live when that was changed", async () => {
    const { clock, enter } = lab();
    await enter(1);
    expect((await enter(1, { ttlSeconds: 600 })).deadlineMs).toBe(clock.monotonicMs() + 600_000);
    await clock.advance(300_000);
    expect((await enter(1, { ttlSeconds: 600 })).origin).toBe("kept");
  });

  it.each([
    ["flanneld ran here", null],
    ["it was installed again", nodeId(99)],
  ])("adopts one with its address: %s", async (_, formerId) => {
    const { store, enter, clock } = lab();
    const former = await store.leases.create("10.2.5.0-24", value(1, { nodeId: formerId }), 1000, signal);
    const adopted = await enter(1);
    expect(adopted).toMatchObject({ origin: "adopted", entry: { key: "10.2.5.0-24", value: value(1) } });
    expect(adopted.entry.storeLeaseId).not.toBe(former.storeLeaseId);
    expect(adopted.deadlineMs).toBe(clock.monotonicMs() + TTL_SECONDS * 1000);
  });

  it("keeps a reservation as one", async () => {
    const { store, enter } = lab();
    await store.leases.create("10.2.5.0-24", '{"PublicIP":"192.168.0.1"}', FOREVER, signal);
    const first = await enter(1);
    expect(first).toMatchObject({ origin: "adopted", deadlineMs: FOREVER, entry: { storeLeaseId: null } });
    expect(await enter(1)).toMatchObject({
      origin: "kept",
      entry: { key: "10.2.5.0-24", storeLeaseId: null },
    });
  });

  it("prefers its node id over its address, and drops what else is its own", async () => {
    const { store, enter } = lab();
    await store.leases.create("10.2.5.0-24", value(1, { nodeId: null }), 60, signal);
    await store.leases.create("10.2.6.0-24", value(1), 60, signal);
    await store.leases.create("10.2.7.0-24", value(1, { ip: "192.168.9.9" }), 60, signal);
    expect((await enter(1)).entry.key).toBe("10.2.6.0-24");
    const keys = (await store.feed.list(signal)).entries.map(({ key }) => key);
    expect(keys.sort()).toEqual(["10.2.5.0-24", "10.2.6.0-24"]);
  });

  it.each(["10.9.5.0-24", "10.2.5.0-26", "10.2.0.0-24"])(
    "gives up %s, which is not of the network as it is now",
    async (key) => {
      const { store, enter } = lab();
      await store.leases.create(key, value(1), 60, signal);
      const membership = await enter(1);
      expect(membership).toMatchObject({ origin: "new subnet", givenUp: [key] });
      expect((await store.feed.list(signal)).entries.map((entry) => entry.key)).toEqual([
        membership.entry.key,
      ]);
    },
  );

  it("gives up one that an older lease overlaps", async () => {
    const { store, enter } = lab();
    await store.leases.create("10.2.4.0-23", value(7), 60, signal);
    await store.leases.create("10.2.5.0-24", value(1), 60, signal);
    expect((await enter(1)).entry.key).not.toBe("10.2.5.0-24");
  });

  it("looks again when the lease changed under its hands", async () => {
    const { store, clock } = lab();
    const theirs = await store.leases.create("10.2.5.0-24", value(1, { nodeId: null }), 60, signal);
    const listing = await store.feed.list(signal);
    await store.leases.remove(theirs, signal);
    expect((await join(joinOptions(store, clock, 1), listing, signal)).origin).toBe("new subnet");
  });

  it("leaves its lease to the other host when it must renumber", async () => {
    const { store, enter } = lab();
    const first = await enter(1);
    const others = [value(7), value(1, { ip: "192.168.0.7" }), value(7, { ip: "192.168.0.1" })];
    let { entry } = first;
    for (const theirs of others) {
      entry = await store.leases.replace(entry, theirs, null, signal);
      const moved = await enter(1, { isRenumbering: true });
      expect(moved.origin).toBe("new subnet");
      expect(moved.entry.key).not.toBe(first.entry.key);
      await store.leases.remove(moved.entry, signal);
    }
    expect((await store.feed.list(signal)).entries).toEqual([entry]);
  });
});

describe("affinity", () => {
  it("brings a host back that was away longer than its lease", async () => {
    const { store, clock, enter } = lab();
    const first = await enter(1);
    await recordAffinity(store.records, first.entry.key, attrs(1), signal);
    await clock.advance(TTL_SECONDS * 2000);
    expect((await store.feed.list(signal)).entries).toEqual([]);
    expect((await enter(1)).entry.key).toBe(first.entry.key);
  });

  it("leaves used subnets to the last, then takes the longest unused", async () => {
    const { store, enter } = lab();
    const config = networkOf(4);
    for (const [n, key] of [
      [11, "10.2.3.0-24"],
      [12, "10.2.1.0-24"],
      [11, "10.2.3.0-24"],
    ] as const)
      await recordAffinity(store.records, key, attrs(n), signal);
    const keys: string[] = [];
    for (const n of [1, 2, 3, 4]) keys.push((await enter(n, { config })).entry.key);
    expect(keys.slice(0, 2).sort()).toEqual(["10.2.2.0-24", "10.2.4.0-24"]);
    expect(keys.slice(2)).toEqual(["10.2.1.0-24", "10.2.3.0-24"]);
  });

  it("loses to a host that took the subnet", async () => {
    const { store, enter } = lab();
    await recordAffinity(store.records, "10.2.9.0-24", attrs(1), signal);
    await store.leases.create("10.2.9.0-24", value(2), 60, signal);
    expect((await enter(1)).entry.key).not.toBe("10.2.9.0-24");
  });

  it("survives records that cannot be read", async () => {
    const { store, enter } = lab();
    await store.records.write("affinity/nonsense", "{", null, signal);
    await store.records.write("affinity/10.2.9.0-24", "{", null, signal);
    expect((await enter(1)).origin).toBe("new subnet");
  });
});
