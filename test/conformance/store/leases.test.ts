/** LeaseKeys (ipam/stores/contracts.ts), checked against every store. */

import { expect, it } from "vitest";
import { describeStores } from "../../support/stores/conformance.ts";

const signal = AbortSignal.timeout(300_000);

await describeStores("lease keys", (store) => {
  it("create a key once", async () => {
    const { leases, feed } = store.network();
    const entry = await leases.create("10.1.1.0-24", "a", 60, signal);
    expect(entry.storeLeaseId).not.toBeNull();
    await expect(leases.create("10.1.1.0-24", "b", 60, signal)).rejects.toMatchObject({
      code: "TULLE_SUBNET_TAKEN",
    });
    expect((await feed.list(signal)).entries).toEqual([entry]);
  });

  it("replace only what is unchanged", async () => {
    const { leases, feed } = store.network();
    const first = await leases.create("10.1.1.0-24", "a", 60, signal);
    const second = await leases.replace(first, "b", null, signal);
    expect(second).toMatchObject({ storeLeaseId: first.storeLeaseId, createRevision: first.createRevision });
    await expect(leases.replace(first, "c", null, signal)).rejects.toMatchObject({
      code: "TULLE_LEASE_LOST",
    });
    const adopted = await leases.replace(second, "d", 60, signal);
    expect(adopted.storeLeaseId).not.toBe(first.storeLeaseId);
    expect((await feed.list(signal)).entries).toEqual([adopted]);
  });

  it("keep a reservation, make one of a lease and a lease of it", async () => {
    const { leases } = store.network();
    const reserved = await leases.create("10.1.1.0-24", "a", Number.POSITIVE_INFINITY, signal);
    expect(reserved.storeLeaseId).toBeNull();
    expect(await leases.keepAlive(reserved, signal)).toBe(Number.POSITIVE_INFINITY);
    expect((await leases.replace(reserved, "b", null, signal)).storeLeaseId).toBeNull();
    const lease = await leases.create("10.1.2.0-24", "a", 60, signal);
    const kept = await leases.replace(lease, "a", Number.POSITIVE_INFINITY, signal);
    expect(kept.storeLeaseId).toBeNull();
    const released = await leases.replace(kept, "a", 60, signal);
    expect(await leases.keepAlive(released, signal)).toBeGreaterThanOrEqual(60);
  });

  it("remove only what is unchanged, and the absent with success", async () => {
    const { leases } = store.network();
    const first = await leases.create("10.1.1.0-24", "a", 60, signal);
    const second = await leases.replace(first, "b", null, signal);
    await expect(leases.remove(first, signal)).rejects.toMatchObject({ code: "TULLE_LEASE_LOST" });
    await leases.remove(second, signal);
    await leases.remove(second, signal);
    await expect(leases.replace(second, "c", null, signal)).rejects.toMatchObject({
      code: "TULLE_LEASE_LOST",
    });
  });

  // Servers that were restored from a backup give revisions out again, but not ids of store leases.
  it("neither replace nor remove one that has another store lease at the same revision", async () => {
    const { leases, feed } = store.network();
    const lease = await leases.create("10.1.1.0-24", "a", 60, signal);
    const other = await leases.create("10.1.2.0-24", "a", 60, signal);
    const reserved = await leases.create("10.1.3.0-24", "a", Number.POSITIVE_INFINITY, signal);
    const { storeLeaseId } = other;
    for (const former of [
      { ...lease, storeLeaseId },
      { ...lease, storeLeaseId: null },
      { ...reserved, storeLeaseId },
    ]) {
      const lost = { code: "TULLE_LEASE_LOST" };
      await expect(leases.replace(former, "b", null, signal), "replace").rejects.toMatchObject(lost);
      await expect(leases.remove(former, signal), "remove").rejects.toMatchObject(lost);
    }
    expect((await feed.list(signal)).entries).toEqual([lease, other, reserved]);
  });

  it("list what was created after a revision, in their own folder only", async () => {
    const { leases, feed, records } = store.network();
    await leases.create("10.1.1.0-24", "a", 60, signal);
    await records.write("affinity/x", "r", null, signal);
    const { revision } = await feed.list(signal);
    const entry = await leases.create("10.1.2.0-24", "b", 60, signal);
    await store.running.put(`${store.prefix}/subnets/`, "");
    expect(await leases.listCreatedAfter(revision, signal)).toEqual([entry]);
  });

  it("let one of many writers win, and another host sees it", async () => {
    const other = await store.running.connect();
    const mine = store.network();
    const rival = other.network(store.prefix);
    try {
      const tries = await Promise.allSettled(
        Array.from({ length: 10 }, (_, index) =>
          (index % 2 ? mine : rival).leases.create("10.1.1.0-24", String(index), 60, signal),
        ),
      );
      const won = tries.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
      expect(won).toHaveLength(1);
      expect((await rival.feed.list(signal)).entries).toEqual(won);
    } finally {
      await other.close();
    }
  });

  it("expire, and say so", async () => {
    const { leases, feed } = store.network();
    const short = await leases.create("10.1.2.0-24", "a", 2, signal);
    await expect
      .poll(async () => (await feed.list(signal)).entries, { timeout: 60_000, interval: 200 })
      .toEqual([]);
    await expect(leases.keepAlive(short, signal)).rejects.toMatchObject({ code: "TULLE_LEASE_LOST" });
  });

  it("end each call soon after its signal fires", async () => {
    const stop = AbortSignal.abort(new Error("enough"));
    const { leases, feed } = store.network();
    const calls = [
      leases.create("10.1.1.0-24", "a", 60, stop),
      leases.create("10.1.1.0-24", "a", Number.POSITIVE_INFINITY, stop),
      leases.listCreatedAfter(0n, stop),
    ];
    for (const call of calls) await expect(call).rejects.toThrow("enough");
    expect((await feed.list(signal)).entries).toEqual([]);
  });
});
