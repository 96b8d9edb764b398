/**
 * Faults of etcd, seen through the store: nothing that happened meanwhile is missed, the watch is back soon, and the
 * log stays short. Real servers; each outage lasts a few seconds.
 */

import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { StoreError, type TulleError } from "../../../ipam/errors.ts";
import type { NetworkStore, StoreConnection } from "../../../ipam/stores/contracts.ts";
import { EtcdClient } from "../../../ipam/stores/etcd/client.ts";
import { openStore } from "../../../ipam/stores/registry.ts";
import { type EtcdCluster, type EtcdOptions, missingEtcd, startEtcd } from "../../support/etcd.ts";
import { createSoon, FEW_LINES, FOUND_OUT, SOON } from "../../support/patience.ts";
import { testEnvironment } from "../../support/stores/store-factory.ts";
import { startTcpProxy, type TcpProxy } from "../../support/tcp-proxy.ts";
import { KeptLog, WatchLog } from "../../support/watch-log.ts";

const PREFIX = "/coreos.com/network";
const SUBNETS = `${PREFIX}/subnets/`;
const signal = AbortSignal.timeout(600_000);

const OUTAGE_MS = 4_000;
const FAILED = "warn lease store watch failed, trying again";
const RECOVERED = "info lease store watch works again";

const missing = missingEtcd();
if (missing !== null && process.env.CI) throw new Error(missing);

describe.skipIf(missing !== null)("faults of etcd", () => {
  const cleanups: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function start(options: EtcdOptions = {}): Promise<EtcdCluster> {
    const cluster = await startEtcd(options);
    cleanups.push(() => cluster.stop());
    return cluster;
  }
  async function proxyTo(cluster: EtcdCluster, index = 0): Promise<TcpProxy> {
    const proxy = await startTcpProxy(cluster.members[index]?.port ?? 0);
    cleanups.push(() => proxy.close());
    return proxy;
  }
  /** A watcher with its own connection, and another host's store beside it. */
  async function watchThrough(endpoints: readonly string[], cluster: EtcdCluster) {
    const log = new KeptLog();
    const environment = { ...testEnvironment, log, random: () => 0 };
    const watching = await connect(endpoints, environment);
    const other = await connect(cluster.endpoints, testEnvironment);
    const watched = new WatchLog(watching.network(PREFIX));
    cleanups.push(() => watched.stop());
    await expect.poll(() => watched.listings, SOON).toBe(1);
    return {
      log,
      watched,
      connection: watching,
      store: watching.network(PREFIX),
      other: other.network(PREFIX),
    };
  }
  async function connect(
    endpoints: readonly string[],
    environment: typeof testEnvironment,
  ): Promise<StoreConnection> {
    const connection = await openStore({ store: "etcd", etcd: { endpoints } }, environment);
    cleanups.push(() => connection.close());
    return connection;
  }
  const pause = (ms: number) => testEnvironment.clock.sleep(ms, signal);
  const create = (store: NetworkStore, key: string, value = "x") =>
    store.leases.create(key, value, 60, signal);

  it("server stopped and started: goes on where it was", async () => {
    const cluster = await start();
    const [member] = cluster.members;
    const { watched, other, log } = await watchThrough(cluster.endpoints, cluster);
    await create(other, "10.1.1.0-24");
    await member?.kill();
    await pause(OUTAGE_MS);
    await member?.start();
    await createSoon(other, "10.1.2.0-24", signal);
    await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "x", "10.1.2.0-24": "x" });
    expect(watched.listings).toBe(1);
    await expect.poll(() => log.lines.at(-1), SOON).toBe(RECOVERED);
    expect(log.lines.length).toBeLessThanOrEqual(FEW_LINES);
  });

  it("leader of three killed: the others serve at once", async () => {
    const cluster = await start({ members: 3 });
    const { watched, other, log } = await watchThrough(cluster.endpoints, cluster);
    await cluster.leader().kill();
    await createSoon(other, "10.1.1.0-24", signal);
    await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "x" });
    expect(watched.listings).toBe(1);
    expect(log.lines.length).toBeLessThanOrEqual(FEW_LINES);
  });

  it("member cut off from us only: another one is found", async () => {
    const cluster = await start({ members: 3 });
    const proxy = await proxyTo(cluster);
    const endpoints = [`127.0.0.1:${proxy.port}`, ...cluster.endpoints.slice(1)];
    const { watched, other, store } = await watchThrough(endpoints, cluster);
    proxy.pause();
    await create(other, "10.1.1.0-24");
    expect((await store.feed.list(signal)).entries).toHaveLength(1);
    await expect.poll(() => watched.leases, FOUND_OUT).toEqual({ "10.1.1.0-24": "x" });
    expect(watched.listings).toBe(1);
  });

  it("members restarted one after another under load: each change is told once", async () => {
    const cluster = await start({ members: 3 });
    const { watched, other } = await watchThrough(cluster.endpoints, cluster);
    let isOver = false;
    let written = 0;
    const load = (async () => {
      while (!isOver || written < 10) {
        const key = `10.${written >> 8}.${written & 255}.0-24`;
        // A refusal may mean that the try before did happen: the key is there then, which is all that matters.
        const done = await create(other, key).catch(
          (error: { code?: string }) => error.code === "TULLE_SUBNET_TAKEN",
        );
        if (done) written += 1;
        await pause(5);
      }
    })();
    for (const member of cluster.members) {
      await member.kill();
      await pause(500);
      await member.start();
    }
    isOver = true;
    await load;
    // A write whose answer was lost may be there beyond the count, or its key may have come and gone.
    const listed = (await other.feed.list(signal)).entries.map(({ key }) => key);
    await expect.poll(() => Object.keys(watched.leases).sort(), SOON).toEqual(listed.sort());
    const present = new Set<string>();
    for (const message of watched.messages.slice(1)) {
      if (message.type !== "changes") throw new Error("listed again");
      for (const change of message.changes) {
        if (change.type === "put") expect(present.size).toBeLessThan(present.add(change.entry.key).size);
        if (change.type === "delete") expect(present.delete(change.key)).toBe(true);
      }
    }
    expect(listed.length).toBeGreaterThanOrEqual(10);
  });

  it("told to reconnect: the watch goes on at the next connection", async () => {
    const cluster = await start();
    const { watched, other, log, connection } = await watchThrough(cluster.endpoints, cluster);
    connection.redial();
    await create(other, "10.1.1.0-24");
    await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "x" });
    expect(log.lines).toEqual([]);
    expect(watched.listings).toBe(1);
  });

  it("majority lost: reports it, and is back with the majority", async () => {
    const cluster = await start({ members: 3 });
    const { watched, other, store, log } = await watchThrough(cluster.endpoints, cluster);
    const [, second, third] = cluster.members;
    await Promise.all([second?.kill(), third?.kill()]);
    // A leader may answer a read that it had confirmed before.
    const answer = () =>
      store.feed.list(signal).then(
        () => "answered",
        (error: TulleError) => error.code,
      );
    await expect.poll(answer, SOON).toBe("TULLE_STORE_UNREACHABLE");
    await second?.start();
    await createSoon(other, "10.1.1.0-24", signal);
    await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "x" });
    expect(log.lines.length).toBeLessThanOrEqual(FEW_LINES);
  });

  it("server hung: noticed by the watchdog, at once back when it goes on", async () => {
    const cluster = await start();
    const [member] = cluster.members;
    const { watched, other, store, log } = await watchThrough(cluster.endpoints, cluster);
    await create(other, "10.1.1.0-24");
    await member?.pause();
    await expect(store.feed.list(AbortSignal.timeout(100))).rejects.toMatchObject({ name: "TimeoutError" });
    await expect(store.feed.list(signal)).rejects.toMatchObject({ code: "TULLE_STORE_UNREACHABLE" });
    await expect.poll(() => log.lines, FOUND_OUT).toContain(FAILED);
    await pause(3_000);
    member?.resume();
    await createSoon(other, "10.1.2.0-24", signal);
    await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "x", "10.1.2.0-24": "x" });
    expect(watched.listings).toBe(1);
  });

  it("cut off silently, twice: the second outage is noticed as soon as the first", async () => {
    const cluster = await start();
    const proxy = await proxyTo(cluster);
    const store = (await connect([`${proxy.host}:${proxy.port}`], testEnvironment)).network(PREFIX);
    const read = () => store.records.read("tulle/x", signal);
    await read();
    for (let outage = 0; outage < 2; outage += 1) {
      proxy.pause();
      // Several, of which the first leaves a connection behind that is made when the outage ends.
      const startMs = performance.now();
      for (let count = 0; count < 3; count += 1) await expect(read()).rejects.toThrow(StoreError);
      expect(performance.now() - startMs).toBeLessThan(15_000);
      proxy.resume();
      await expect.poll(() => read().then(() => true), SOON).toBe(true);
      await pause(1_000);
    }
  });

  it("history compacted while away: lists again", async () => {
    const cluster = await start();
    const proxy = await proxyTo(cluster);
    const { watched, other } = await watchThrough([`127.0.0.1:${proxy.port}`], cluster);
    const entry = await create(other, "10.1.1.0-24");
    await create(other, "10.1.2.0-24");
    await expect.poll(() => watched.leases, SOON).toHaveProperty(["10.1.2.0-24"]);
    proxy.pause();
    proxy.reset();
    await other.leases.remove(entry, signal);
    for (let round = 0; round < 5; round += 1) await create(other, `10.1.${round + 3}.0-24`);
    cluster.compact();
    await pause(500);
    proxy.resume();
    const listed = Object.fromEntries(
      (await other.feed.list(signal)).entries.map(({ key, value }) => [key, value]),
    );
    await expect.poll(() => watched.leases, FOUND_OUT).toEqual(listed);
    expect(watched.listings).toBe(2);
  });

  it("stream broken again and again: no change is lost, none told twice", async () => {
    const cluster = await start();
    const proxy = await proxyTo(cluster);
    const { watched, other } = await watchThrough([`127.0.0.1:${proxy.port}`], cluster);
    let config = await other.config.write("0", null, signal);
    for (let round = 1; round <= 30; round += 1) {
      if (round % 3 === 0) proxy.reset();
      const entry = await create(other, `10.1.${round}.0-24`);
      config = await other.config.write(String(round), config, signal);
      if (round % 2 === 0) await other.leases.remove(entry, signal);
      await pause(40);
    }
    await expect.poll(() => watched.config, SOON).toBe("30");
    await expect.poll(() => Object.keys(watched.leases).length, SOON).toBe(15);
    const told = watched.messages.flatMap((message) => (message.type === "changes" ? message.changes : []));
    expect(told.map(({ type }) => type).sort()).toEqual(
      [...Array(31).fill("config"), ...Array(15).fill("delete"), ...Array(30).fill("put")].sort(),
    );
    expect(watched.listings).toBe(1);
  });

  it("answer lost on the way back: what was written stays, with its lease", async () => {
    const cluster = await start();
    const store = (await connect(cluster.endpoints, testEnvironment)).network(PREFIX);
    const entry = await create(store, "10.1.1.0-24");
    const { write } = EtcdClient.prototype;
    const lossy = vi.spyOn(EtcdClient.prototype, "write").mockImplementation(async function (
      this: EtcdClient,
      ...call: Parameters<typeof write>
    ) {
      const answer = await write.apply(this, call);
      if (call[1] === "txn") throw new StoreError("lost", { details: { outcomeUnknown: true } });
      return answer;
    } as typeof write);
    try {
      await expect(store.leases.replace(entry, "y", 60, signal)).rejects.toThrow("lost");
      await expect(create(store, "10.1.2.0-24")).rejects.toThrow("lost");
    } finally {
      lossy.mockRestore();
    }
    const { entries } = await store.feed.list(signal);
    expect(entries.map(({ key, value }) => [key, value])).toEqual([
      ["10.1.1.0-24", "y"],
      ["10.1.2.0-24", "x"],
    ]);
    for (const found of entries) expect(await store.leases.keepAlive(found, signal)).toBeGreaterThan(0);
  });

  it("changes made by hand: a lease revoked, a key deleted, a key overwritten", async () => {
    const cluster = await start();
    const { watched, store } = await watchThrough(cluster.endpoints, cluster);
    const revoked = await create(store, "10.1.1.0-24");
    const deleted = await create(store, "10.1.2.0-24");
    const overwritten = await create(store, "10.1.3.0-24");
    cluster.ctl("lease", "revoke", BigInt(revoked.storeLeaseId ?? 0).toString(16));
    cluster.ctl("del", `${SUBNETS}10.1.2.0-24`);
    cluster.ctl("put", `${SUBNETS}10.1.3.0-24`, "theirs");
    await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.3.0-24": "theirs" });
    await expect(store.leases.keepAlive(revoked, signal)).rejects.toMatchObject({ code: "TULLE_LEASE_LOST" });
    await expect(store.leases.replace(deleted, "y", null, signal)).rejects.toMatchObject({
      code: "TULLE_LEASE_LOST",
    });
    await expect(store.leases.replace(overwritten, "y", null, signal)).rejects.toMatchObject({
      code: "TULLE_LEASE_LOST",
    });
    await expect(store.leases.remove(overwritten, signal)).rejects.toMatchObject({
      code: "TULLE_LEASE_LOST",
    });
  });

  it.each([
    { title: "and still behind", later: 0 },
    { title: "and ahead of us again", later: 12 },
  ])("restored from an older snapshot $title: lists again", async ({ later }) => {
    const cluster = await start();
    const snapshot = join(cluster.directory, "snapshot.db");
    const proxy = await proxyTo(cluster);
    const { watched, other } = await watchThrough([`127.0.0.1:${proxy.port}`], cluster);
    await create(other, "10.1.1.0-24");
    cluster.ctl("snapshot", "save", snapshot);
    for (let round = 2; round < 6; round += 1) await create(other, `10.1.${round}.0-24`);
    await expect.poll(() => Object.keys(watched.leases).length, SOON).toBe(5);
    proxy.pause();
    proxy.reset();
    await cluster.restore(snapshot);
    for (let round = 0; round < later; round += 1) cluster.ctl("put", "/elsewhere", String(round));
    await create(other, "10.1.9.0-24");
    await pause(200);
    proxy.resume();
    await expect.poll(() => watched.leases, FOUND_OUT).toEqual({ "10.1.1.0-24": "x", "10.1.9.0-24": "x" });
  });
});
