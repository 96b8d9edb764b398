/** The contract of ipam/store.ts, checked against every store. */

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StoreConnection, StoreMessage, SubnetStore } from "../../../ipam/store.ts";
import { storeFactories } from "../../support/stores/all.ts";
import type { RunningStore } from "../../support/stores/store-factory.ts";

const signal = AbortSignal.timeout(300_000);

for (const factory of storeFactories) {
  const missing = await factory.missing();
  if (missing !== null && process.env.CI && !factory.isOptional) throw new Error(missing);

  describe.skipIf(missing !== null)(`${factory.name} store${missing === null ? "" : ` (${missing})`}`, () => {
    let running: RunningStore;
    let connection: StoreConnection;
    let counter = 0;
    const network = (): SubnetStore => {
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
      const entry = await store.create("10.1.1.0-24", "a", 60, signal);
      expect(entry.storeLeaseId).not.toBeNull();
      await expect(store.create("10.1.1.0-24", "b", 60, signal)).rejects.toMatchObject({
        code: "TULLE_SUBNET_TAKEN",
      });
      expect((await store.list(signal)).entries).toEqual([entry]);
    });
    it("replaces only what is unchanged", async () => {
      const store = network();
      const first = await store.create("10.1.1.0-24", "a", 60, signal);
      const second = await store.replace(first, "b", null, signal);
      expect(second).toMatchObject({
        storeLeaseId: first.storeLeaseId,
        createRevision: first.createRevision,
      });
      await expect(store.replace(first, "c", null, signal)).rejects.toMatchObject({
        code: "TULLE_LEASE_LOST",
      });
      const adopted = await store.replace(second, "d", 60, signal);
      expect(adopted.storeLeaseId).not.toBe(first.storeLeaseId);
      expect((await store.list(signal)).entries).toEqual([adopted]);
    });
    it("keeps a reservation and makes one of a lease", async () => {
      const store = network();
      const reserved = await store.create("10.1.1.0-24", "a", Number.POSITIVE_INFINITY, signal);
      expect(reserved.storeLeaseId).toBeNull();
      expect(await store.keepAlive(reserved, signal)).toBe(Number.POSITIVE_INFINITY);
      const lease = await store.create("10.1.2.0-24", "a", 60, signal);
      expect((await store.replace(lease, "a", Number.POSITIVE_INFINITY, signal)).storeLeaseId).toBeNull();
    });
    it("removes only what is unchanged, and the absent with success", async () => {
      const store = network();
      const first = await store.create("10.1.1.0-24", "a", 60, signal);
      const second = await store.replace(first, "b", null, signal);
      await expect(store.remove(first, signal)).rejects.toMatchObject({ code: "TULLE_LEASE_LOST" });
      await store.remove(second, signal);
      await store.remove(second, signal);
      await expect(store.replace(second, "c", null, signal)).rejects.toMatchObject({
        code: "TULLE_LEASE_LOST",
      });
    });
    it("lists what was created after a revision, inside its own folder only", async () => {
      const store = network();
      await store.create("10.1.1.0-24", "a", 60, signal);
      await store.writeRecord("affinity/x", "r", null, signal);
      const { revision } = await store.list(signal);
      const entry = await store.create("10.1.2.0-24", "b", 60, signal);
      expect(await store.listCreatedAfter(revision, signal)).toEqual([entry]);
    });
    it("compares before it writes the configuration and records", async () => {
      const store = network();
      expect(await store.readConfig(signal)).toBeNull();
      const config = await store.writeConfig("{}", null, signal);
      await expect(store.writeConfig("x", null, signal)).rejects.toMatchObject({ code: "TULLE_CONFLICT" });
      expect(await store.readConfig(signal)).toEqual(config);
      const record = await store.writeRecord("affinity/a", "1", null, signal);
      const next = await store.writeRecord("affinity/a", "2", record, signal);
      await expect(store.removeRecord(record, signal)).rejects.toMatchObject({ code: "TULLE_CONFLICT" });
      expect(await store.listRecords("affinity/", signal)).toEqual([next]);
      await store.removeRecord(next, signal);
      expect(await store.readRecord("affinity/a", signal)).toBeNull();
    });
    it("watches: a listing, then puts, deletes, the configuration and an expiry", async () => {
      const store = network();
      const stop = new AbortController();
      const messages: StoreMessage[] = [];
      const done = (async () => {
        for await (const message of store.watch(stop.signal)) messages.push(message);
      })();
      const seen = (): string[] =>
        messages.flatMap((message) =>
          message.type === "list" ? ["list"] : message.changes.map((change) => change.type),
        );
      const until = async (...types: string[]) => {
        await expect.poll(seen, { timeout: 15_000 }).toEqual(types);
      };
      await until("list");
      const entry = await store.create("10.1.1.0-24", "a", 60, signal);
      await until("list", "put");
      await store.remove(entry, signal);
      await until("list", "put", "delete");
      await store.writeConfig("{}", null, signal);
      await until("list", "put", "delete", "config");
      const short = await store.create("10.1.2.0-24", "a", 2, signal);
      expect(await store.keepAlive(short, signal)).toBeGreaterThan(0);
      await until("list", "put", "delete", "config", "put", "delete");
      await expect(store.keepAlive(short, signal)).rejects.toMatchObject({ code: "TULLE_LEASE_LOST" });
      stop.abort();
      await done;
    });
  });
}
