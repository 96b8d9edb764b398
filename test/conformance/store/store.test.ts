/** The contract of ipam/stores/store.ts, checked against every store. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { NetworkStore, StoreConnection, StoreMessage } from "../../../ipam/stores/contracts.ts";
import { SOON } from "../../support/patience.ts";
import { storeFactories } from "../../support/stores/all.ts";
import type { RunningStore } from "../../support/stores/store-factory.ts";
import { WatchLog } from "../../support/watch-log.ts";

const signal = AbortSignal.timeout(300_000);

for (const factory of storeFactories) {
  const missing = await factory.missing();
  if (missing !== null && process.env.CI && !factory.isOptional) throw new Error(missing);

  describe.skipIf(missing !== null)(`${factory.name} store${missing === null ? "" : ` (${missing})`}`, () => {
    let running: RunningStore;
    let connection: StoreConnection;
    let counter = 0;
    const network = (): NetworkStore => {
      counter += 1;
      return connection.network(`/test/${counter}`);
    };
    beforeAll(async () => {
      running = await factory.start();
      connection = await running.connect();
    });
    afterAll(async () => {
      await connection.close();
      await running.stop();
    });

    it("creates a key once", async () => {
      const store = network();
      const entry = await store.leases.create("10.1.1.0-24", "a", 60, signal);
      expect(entry.storeLeaseId).not.toBeNull();
      await expect(store.leases.create("10.1.1.0-24", "b", 60, signal)).rejects.toMatchObject({
        code: "TULLE_SUBNET_TAKEN",
      });
      expect((await store.feed.list(signal)).entries).toEqual([entry]);
    });
    it("replaces only what is unchanged", async () => {
      const store = network();
      const first = await store.leases.create("10.1.1.0-24", "a", 60, signal);
      const second = await store.leases.replace(first, "b", null, signal);
      expect(second).toMatchObject({
        storeLeaseId: first.storeLeaseId,
        createRevision: first.createRevision,
      });
      await expect(store.leases.replace(first, "c", null, signal)).rejects.toMatchObject({
        code: "TULLE_LEASE_LOST",
      });
      const adopted = await store.leases.replace(second, "d", 60, signal);
      expect(adopted.storeLeaseId).not.toBe(first.storeLeaseId);
      expect((await store.feed.list(signal)).entries).toEqual([adopted]);
    });
    it("keeps a reservation and makes one of a lease", async () => {
      const store = network();
      const reserved = await store.leases.create("10.1.1.0-24", "a", Number.POSITIVE_INFINITY, signal);
      expect(reserved.storeLeaseId).toBeNull();
      expect(await store.leases.keepAlive(reserved, signal)).toBe(Number.POSITIVE_INFINITY);
      const lease = await store.leases.create("10.1.2.0-24", "a", 60, signal);
      expect(
        (await store.leases.replace(lease, "a", Number.POSITIVE_INFINITY, signal)).storeLeaseId,
      ).toBeNull();
    });
    it("removes only what is unchanged, and the absent with success", async () => {
      const store = network();
      const first = await store.leases.create("10.1.1.0-24", "a", 60, signal);
      const second = await store.leases.replace(first, "b", null, signal);
      await expect(store.leases.remove(first, signal)).rejects.toMatchObject({ code: "TULLE_LEASE_LOST" });
      await store.leases.remove(second, signal);
      await store.leases.remove(second, signal);
      await expect(store.leases.replace(second, "c", null, signal)).rejects.toMatchObject({
        code: "TULLE_LEASE_LOST",
      });
    });
    it("lists what was created after a revision, inside its own folder only", async () => {
      const store = network();
      await store.leases.create("10.1.1.0-24", "a", 60, signal);
      await store.records.write("affinity/x", "r", null, signal);
      const { revision } = await store.feed.list(signal);
      const entry = await store.leases.create("10.1.2.0-24", "b", 60, signal);
      expect(await store.leases.listCreatedAfter(revision, signal)).toEqual([entry]);
    });
    it("compares before it writes the configuration and records", async () => {
      const store = network();
      expect(await store.config.read(signal)).toBeNull();
      const config = await store.config.write("{}", null, signal);
      await expect(store.config.write("x", null, signal)).rejects.toMatchObject({ code: "TULLE_CONFLICT" });
      expect(await store.config.read(signal)).toEqual(config);
      const record = await store.records.write("affinity/a", "1", null, signal);
      const next = await store.records.write("affinity/a", "2", record, signal);
      await expect(store.records.remove(record, signal)).rejects.toMatchObject({ code: "TULLE_CONFLICT" });
      expect(await store.records.list("affinity/", signal)).toEqual([next]);
      await store.records.remove(next, signal);
      expect(await store.records.read("affinity/a", signal)).toBeNull();
    });
    it("keeps networks apart, also those whose names begin alike, and drops a closing slash", async () => {
      const name = `/test/apart${counter}`;
      const store = connection.network(`${name}/`);
      const entry = await store.leases.create("10.1.1.0-24", "a", 60, signal);
      for (const other of [`${name}2`, `${name}/subnets`, "/test"]) {
        expect((await connection.network(other).feed.list(signal)).entries).toEqual([]);
      }
      expect((await connection.network(name).feed.list(signal)).entries).toEqual([entry]);
      await store.leases.remove(entry, signal);
    });
    it("carries large values, any text and no text", async () => {
      const store = network();
      const values = { a: "x".repeat(factory.largestValue), b: "ü \u0000 \n 網 🌍", c: "" };
      for (const [key, value] of Object.entries(values)) await store.leases.create(key, value, 60, signal);
      const { entries } = await store.feed.list(signal);
      expect(Object.fromEntries(entries.map(({ key, value }) => [key, value]))).toEqual(values);
    });
    it("lets one of many writers win, and another host sees it", async () => {
      const other = await running.connect();
      const store = network();
      const rival = other.network(`/test/${counter}`);
      try {
        const tries = await Promise.allSettled(
          Array.from({ length: 10 }, (_, index) =>
            (index % 2 ? store : rival).leases.create("10.1.1.0-24", String(index), 60, signal),
          ),
        );
        const won = tries.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
        expect(won).toHaveLength(1);
        expect((await rival.feed.list(signal)).entries).toEqual(won);
      } finally {
        await other.close();
      }
    });
    it("tells every change to each of two watchers, in order", async () => {
      const store = network();
      const watchers = [new WatchLog(store), new WatchLog(store)];
      const last = new Map<string, string>();
      for (let round = 0; round < 20; round += 1) {
        const key = `10.1.${round % 7}.0-24`;
        const entry = (await store.feed.list(signal)).entries.find((candidate) => candidate.key === key);
        if (entry) await store.leases.replace(entry, String(round), null, signal);
        else await store.leases.create(key, String(round), 60, signal);
        last.set(key, String(round));
      }
      for (const watched of watchers) {
        await expect.poll(() => watched.leases, SOON).toEqual(Object.fromEntries(last));
        await watched.stop();
      }
    });
    it("ends each call soon after its signal fires", async () => {
      const stop = AbortSignal.abort(new Error("enough"));
      const store = network();
      const calls = [
        store.feed.list(stop),
        store.leases.create("10.1.1.0-24", "a", 60, stop),
        store.config.read(stop),
        store.records.write("x", "y", null, stop),
      ];
      for (const call of calls) await expect(call).rejects.toThrow("enough");
      expect((await store.feed.list(signal)).entries).toEqual([]);
    });
    it("watches: a listing, then puts, deletes, the configuration and an expiry", async () => {
      const store = network();
      const stop = new AbortController();
      const messages: StoreMessage[] = [];
      const done = (async () => {
        for await (const message of store.feed.watch(stop.signal)) messages.push(message);
      })();
      const seen = (): string[] =>
        messages.flatMap((message) =>
          message.type === "list" ? ["list"] : message.changes.map((change) => change.type),
        );
      const until = async (...types: string[]) => {
        await expect.poll(seen, SOON).toEqual(types);
      };
      await until("list");
      const entry = await store.leases.create("10.1.1.0-24", "a", 60, signal);
      await until("list", "put");
      await store.leases.remove(entry, signal);
      await until("list", "put", "delete");
      await store.config.write("{}", null, signal);
      await until("list", "put", "delete", "config");
      const short = await store.leases.create("10.1.2.0-24", "a", 2, signal);
      expect(await store.leases.keepAlive(short, signal)).toBeGreaterThan(0);
      await until("list", "put", "delete", "config", "put", "delete");
      await expect(store.leases.keepAlive(short, signal)).rejects.toMatchObject({ code: "TULLE_LEASE_LOST" });
      stop.abort();
      await done;
    });
  });
}
