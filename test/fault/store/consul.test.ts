/**
 * Faults of Consul, seen through the store: nothing that happened meanwhile is missed, the watch is back soon, and
 * the log stays short. Real servers; each outage lasts a few seconds.
 */

import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { TulleError } from "../../../ipam/errors.ts";
import type { NetworkStore, StoreConnection, StoreMessage } from "../../../ipam/stores/contracts.ts";
import { openStore } from "../../../ipam/stores/registry.ts";
import { type ConsulCluster, missingConsul, startConsul } from "../../support/consul.ts";
import { createSoon, FEW_LINES, FOUND_OUT, SOON } from "../../support/patience.ts";
import { testEnvironment } from "../../support/stores/store-factory.ts";
import { startTcpProxy, type TcpProxy } from "../../support/tcp-proxy.ts";
import { KeptLog, WatchLog } from "../../support/watch-log.ts";

const PREFIX = "/coreos.com/network";
const SUBNETS = "kv/coreos.com/network/subnets/";
const signal = AbortSignal.timeout(600_000);

const OUTAGE_MS = 4_000;
const FAILED = "warn lease store watch failed, trying again";
const RECOVERED = "info lease store watch works again";

const missing = missingConsul();
if (missing !== null && process.env.CI) throw new Error(missing);

describe.skipIf(missing !== null)(`faults of Consul${missing === null ? "" : ` (${missing})`}`, () => {
  const cleanups: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function start(servers: number): Promise<ConsulCluster> {
    const cluster = await startConsul({ servers });
    cleanups.push(() => cluster.stop());
    return cluster;
  }
  async function proxyTo(cluster: ConsulCluster, index = 0): Promise<TcpProxy> {
    const proxy = await startTcpProxy(cluster.servers[index]?.port ?? 0);
    cleanups.push(() => proxy.close());
    return proxy;
  }
  async function connect(
    addresses: readonly string[],
    environment: typeof testEnvironment,
  ): Promise<StoreConnection> {
    const connection = await openStore({ store: "consul", consul: { addresses } }, environment);
    cleanups.push(() => connection.close());
    return connection;
  }
  /** A watcher with its own connection, and another host's store beside it. */
  async function watchThrough(addresses: readonly string[], cluster: ConsulCluster) {
    const log = new KeptLog();
    const watching = await connect(addresses, { ...testEnvironment, log, random: () => 0 });
    const other = await connect(cluster.addresses, testEnvironment);
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
  const pause = (ms: number) => testEnvironment.clock.sleep(ms, signal);
  const create = (store: NetworkStore, key: string, value = "x") =>
    store.leases.create(key, value, 60, signal);

  it("only server stopped and started: keys and sessions are still there, and the watch goes on", async () => {
    const cluster = await start(1);
    const { watched, store, other, log } = await watchThrough(cluster.addresses, cluster);
    const entry = await create(other, "10.1.1.0-24");
    await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "x" });
    await cluster.servers[0]?.kill();
    await expect(store.feed.list(signal)).rejects.toMatchObject({ code: "TULLE_STORE_UNREACHABLE" });
    await pause(OUTAGE_MS);
    await cluster.servers[0]?.start();
    expect(await other.leases.keepAlive(entry, signal)).toBe(60);
    await createSoon(other, "10.1.2.0-24", signal);
    await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "x", "10.1.2.0-24": "x" });
    expect(watched.listings).toBeGreaterThan(1);
    await expect.poll(() => log.lines.at(-1), SOON).toBe(RECOVERED);
    expect(log.lines.length).toBeLessThanOrEqual(FEW_LINES);
  });

  it("only server hung: noticed by the watchdog, and back at once when it goes on", async () => {
    const cluster = await start(1);
    const [server] = cluster.servers;
    const { watched, store, other, log } = await watchThrough(cluster.addresses, cluster);
    await server?.pause();
    await expect(store.feed.list(AbortSignal.timeout(100))).rejects.toMatchObject({ name: "TimeoutError" });
    await expect.poll(() => log.lines, FOUND_OUT).toContain(FAILED);
    await expect(store.feed.list(signal)).rejects.toMatchObject({ code: "TULLE_STORE_UNREACHABLE" });
    server?.resume();
    await createSoon(other, "10.1.1.0-24&fd00:1:1::-64", signal);
    await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24&fd00:1:1::-64": "x" });
    await expect.poll(() => log.lines.at(-1), SOON).toBe(RECOVERED);
    expect(log.lines.length).toBeLessThanOrEqual(FEW_LINES);
  });

  describe("with three servers", () => {
    it("leader killed: the others serve, and leases held by its sessions stay", async () => {
      const cluster = await start(3);
      const leader = await cluster.leader();
      const addresses = [leader, ...cluster.servers.filter((server) => server !== leader)].map(
        ({ address }) => address,
      );
      const { watched, store, other, log } = await watchThrough(addresses, cluster);
      const entry = await create(store, "10.1.1.0-24");
      await leader.kill();
      await createSoon(other, "10.1.2.0-24", signal);
      await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "x", "10.1.2.0-24": "x" });
      await pause(3_000);
      expect(await store.leases.keepAlive(entry, signal)).toBe(60);
      expect(watched.leases).toHaveProperty(["10.1.1.0-24"]);
      expect(log.lines.length).toBeLessThanOrEqual(FEW_LINES);
    });

    it("answering server hung: another one is found", async () => {
      const cluster = await start(3);
      const leader = await cluster.leader();
      const [follower, second] = cluster.servers.filter((server) => server !== leader);
      const addresses = [follower?.address ?? "", second?.address ?? ""];
      const { watched, log } = await watchThrough(addresses, cluster);
      const other = (await connect([second?.address ?? ""], testEnvironment)).network(PREFIX);
      await follower?.pause();
      await createSoon(other, "10.1.1.0-24", signal);
      await expect.poll(() => watched.leases, FOUND_OUT).toEqual({ "10.1.1.0-24": "x" });
      follower?.resume();
      await createSoon(other, "10.1.2.0-24", signal);
      await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "x", "10.1.2.0-24": "x" });
      expect(log.lines.length).toBeLessThanOrEqual(FEW_LINES);
    });

    it("leader hung: a watch at another server sees what its successor writes", async () => {
      const cluster = await start(3);
      const leader = await cluster.leader();
      const followers = cluster.servers.filter((server) => server !== leader).map(({ address }) => address);
      const { watched } = await watchThrough(followers, cluster);
      const other = (await connect(followers, testEnvironment)).network(PREFIX);
      await leader.pause();
      await createSoon(other, "10.1.1.0-24", signal);
      await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "x" });
      leader.resume();
      await createSoon(other, "10.1.2.0-24", signal);
      await expect.poll(() => watched.leases, FOUND_OUT).toHaveProperty(["10.1.2.0-24"]);
    });

    it("all stopped and started: converges at once, in few lines", async () => {
      const cluster = await start(3);
      const { watched, other, log } = await watchThrough(cluster.addresses, cluster);
      await create(other, "10.1.1.0-24");
      await Promise.all(cluster.servers.map((server) => server.kill()));
      await pause(OUTAGE_MS);
      await Promise.all(cluster.servers.map((server) => server.start()));
      await createSoon(other, "10.1.2.0-24", signal);
      await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "x", "10.1.2.0-24": "x" });
      await expect.poll(() => log.lines.at(-1), SOON).toBe(RECOVERED);
      expect(log.lines.length).toBeLessThanOrEqual(FEW_LINES);
    });

    it("majority lost: says so, and is back with the majority", async () => {
      const cluster = await start(3);
      const { watched, store, other } = await watchThrough(cluster.addresses, cluster);
      const [, second, third] = cluster.servers;
      await Promise.all([second?.kill(), third?.kill()]);
      // The leader serves on until its own lease on leadership ends.
      const answer = () =>
        store.feed.list(signal).then(
          () => "answered",
          (error: TulleError) => error.code,
        );
      await expect.poll(answer, SOON).toBe("TULLE_STORE_UNREACHABLE");
      await second?.start();
      await createSoon(other, "10.1.1.0-24", signal);
      await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "x" });
    });

    it("cut off in silence, the old server keeps its connections: another one is found", async () => {
      const cluster = await start(3);
      const proxy = await proxyTo(cluster);
      const addresses = [`http://127.0.0.1:${proxy.port}`, ...cluster.addresses.slice(1)];
      const { watched, other, store } = await watchThrough(addresses, cluster);
      proxy.pause();
      await create(other, "10.1.1.0-24");
      await expect.poll(() => watched.leases, FOUND_OUT).toEqual({ "10.1.1.0-24": "x" });
      expect((await store.feed.list(signal)).entries).toHaveLength(1);
    });
  });

  describe("with one server", () => {
    it("connection reset and cut for a while: what happened meanwhile arrives", async () => {
      const cluster = await start(1);
      const proxy = await proxyTo(cluster);
      const { watched, other, log } = await watchThrough([`127.0.0.1:${proxy.port}`], cluster);
      const entry = await create(other, "10.1.1.0-24");
      await expect.poll(() => watched.leases, SOON).toHaveProperty(["10.1.1.0-24"]);
      proxy.pause();
      proxy.reset();
      await other.leases.remove(entry, signal);
      await create(other, "10.1.2.0-24");
      await other.config.write("{}", null, signal);
      await pause(3_000);
      proxy.resume();
      await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.2.0-24": "x" });
      await expect.poll(() => watched.config, SOON).toBe("{}");
      expect(log.lines.length).toBeLessThanOrEqual(FEW_LINES);
    });

    it("told to reconnect: the watch goes on at the next connection, and nothing failed", async () => {
      const cluster = await start(1);
      const { watched, other, log, connection } = await watchThrough(cluster.addresses, cluster);
      connection.redial();
      await create(other, "10.1.1.0-24");
      await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.1.0-24": "x" });
      expect(log.lines).toEqual([]);
    });

    it("session destroyed by hand: the key goes at once, and the lease says so", async () => {
      const cluster = await start(1);
      const { watched, store } = await watchThrough(cluster.addresses, cluster);
      const entry = await create(store, "10.1.1.0-24");
      await expect.poll(() => watched.leases, SOON).toHaveProperty(["10.1.1.0-24"]);
      await cluster.api("PUT", `session/destroy/${entry.storeLeaseId}`);
      await expect.poll(() => watched.leases, SOON).toEqual({});
      await expect(store.leases.keepAlive(entry, signal)).rejects.toMatchObject({ code: "TULLE_LEASE_LOST" });
      expect((await create(store, "10.1.1.0-24")).key).toBe("10.1.1.0-24");
    });

    it("node of the sessions removed by hand: is registered again by the next lease", async () => {
      const cluster = await start(1);
      const { watched, store } = await watchThrough(cluster.addresses, cluster);
      await create(store, "10.1.1.0-24");
      await cluster.api("PUT", "catalog/deregister", JSON.stringify({ Node: "tulle" }));
      await expect.poll(() => watched.leases, SOON).toEqual({});
      await create(store, "10.1.1.0-24");
      await expect.poll(() => watched.leases, SOON).toHaveProperty(["10.1.1.0-24"]);
    });

    it("restored from a snapshot: Consul's index goes back, and the watch lists what is there", async () => {
      const cluster = await start(1);
      const { watched, other } = await watchThrough(cluster.addresses, cluster);
      const kept = await create(other, "10.1.1.0-24");
      cluster.ctl("snapshot", "save", join(cluster.directory, "snapshot"));
      await other.leases.remove(kept, signal);
      for (let n = 2; n < 9; n += 1) await create(other, `10.1.${n}.0-24`);
      await expect.poll(() => Object.keys(watched.leases).length, SOON).toBe(7);
      cluster.ctl("snapshot", "restore", join(cluster.directory, "snapshot"));
      await expect.poll(() => watched.leases, FOUND_OUT).toEqual({ "10.1.1.0-24": "x" });
      await createSoon(other, "10.1.99.0-24", signal);
      await expect.poll(() => watched.leases, SOON).toHaveProperty(["10.1.99.0-24"]);
    });

    it("key deleted and overwritten by hand: is seen, and never overwritten by us", async () => {
      const cluster = await start(1);
      const { watched, store } = await watchThrough(cluster.addresses, cluster);
      const gone = await create(store, "10.1.1.0-24");
      const changed = await create(store, "10.1.2.0-24");
      await cluster.api("DELETE", `${SUBNETS}10.1.1.0-24`);
      await cluster.api("PUT", `${SUBNETS}10.1.2.0-24`, "theirs");
      await expect.poll(() => watched.leases, SOON).toEqual({ "10.1.2.0-24": "theirs" });
      for (const entry of [gone, changed]) {
        const lost = { code: "TULLE_LEASE_LOST" };
        await expect(store.leases.replace(entry, "ours", 60, signal)).rejects.toMatchObject(lost);
      }
      await expect(store.leases.remove(changed, signal)).rejects.toMatchObject({ code: "TULLE_LEASE_LOST" });
      // The session outlives a key that was changed by hand: it holds the lock still.
      expect(await store.leases.keepAlive(changed, signal)).toBe(60);
    });

    it("nothing happens: hardly a byte goes over the wire, although others write next to our keys", async () => {
      const cluster = await start(1);
      const proxy = await proxyTo(cluster);
      const { watched, other } = await watchThrough([`127.0.0.1:${proxy.port}`], cluster);
      const config = await other.config.write("{}", null, signal);
      const lease = await create(other, "10.1.1.0-24");
      await expect.poll(() => Object.keys(watched.leases), SOON).toEqual([lease.key]);
      await expect.poll(() => watched.config, SOON).toBe(config.text);
      const before = proxy.bytes;
      const isOver = performance.now() + 6_000;
      for (let n = 0; performance.now() < isOver; n += 1) {
        await cluster.api("PUT", `kv/coreos.com/neighbour/${n % 10}`, String(n));
        await pause(20);
      }
      expect(proxy.bytes - before).toBeLessThan(6_000);
      expect(countOf(watched.messages)).toBe(2);
    });
  });
});

function countOf(messages: readonly StoreMessage[]): number {
  return messages.reduce(
    (sum, message) => sum + (message.type === "changes" ? message.changes.length : 0),
    0,
  );
}
