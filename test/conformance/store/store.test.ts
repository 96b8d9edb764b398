/** The contract of ipam/store.ts, checked against every store. */

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../../ipam/clock.ts";
import { silentLogger } from "../../../ipam/log.ts";
import type { StoreConnection, StoreMessage, SubnetStore } from "../../../ipam/store.ts";
import { MemoryHolder, openMemoryStore } from "../../../ipam/stores/memory.ts";
import { openStore } from "../../../ipam/stores/registry.ts";

const environment = { log: silentLogger, clock: systemClock, random: Math.random, dateMs: Date.now };
const signal = AbortSignal.timeout(60_000);
interface Opened {
  readonly connection: StoreConnection;
  dispose(): void;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address ? address.port : 0;
}

async function openEtcd(): Promise<Opened> {
  const directory = mkdtempSync(join(tmpdir(), "tulle-store-"));
  const url = `http://127.0.0.1:${await freePort()}`;
  const peer = `http://127.0.0.1:${await freePort()}`;
  const args = ["--data-dir", directory, "--listen-client-urls", url, "--advertise-client-urls", url];
  const peerArgs = [
    "--listen-peer-urls",
    peer,
    "--initial-advertise-peer-urls",
    peer,
    "--initial-cluster",
    `default=${peer}`,
  ];
  const child = spawn("etcd", [...args, ...peerArgs], { stdio: "ignore" });
  const connection = await openStore({ store: "etcd", etcd: { endpoints: [url] } }, environment);
  for (let tries = 0; tries < 100; tries += 1) {
    if (
      await connection
        .network("/probe")
        .list(signal)
        .then(
          () => true,
          () => false,
        )
    )
      break;
    await systemClock.sleep(100, signal);
  }
  return {
    connection,
    dispose: () => {
      child.kill("SIGKILL");
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

const stores: Record<string, () => Promise<Opened>> = {
  memory: async () => ({
    connection: openMemoryStore(new MemoryHolder(systemClock), environment),
    dispose() {},
  }),
  file: async () => {
    const directory = mkdtempSync(join(tmpdir(), "tulle-store-"));
    const connection = await openStore({ store: `file:${directory}` }, environment);
    return { connection, dispose: () => rmSync(directory, { recursive: true, force: true }) };
  },
  etcd: openEtcd,
};
const hasEtcd = spawnSync("etcd", ["--version"]).status === 0;

for (const [name, open] of Object.entries(stores)) {
  const isMissing = name === "etcd" && !hasEtcd && !process.env.CI;
  describe.skipIf(isMissing)(`${name} store`, () => {
    let opened: Opened;
    let counter = 0;
    const network = (): SubnetStore => {
      counter += 1;
      return opened.connection.network(`/test/${counter}`);
    };
    beforeAll(async () => {
      opened = await open();
    });
    afterAll(async () => {
      await opened.connection.close();
      opened.dispose();
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
