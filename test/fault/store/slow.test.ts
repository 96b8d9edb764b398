/**
 * Stores that need seconds for each message, in each direction: joined, kept and followed by a host, read by a command.
 * Real servers behind a proxy that delays.
 */

import { describe, it, type TestContext, vi } from "vitest";
import type { StoreOptions } from "../../../ipam/stores/options.ts";
import { openStore } from "../../../ipam/stores/registry.ts";
import { missingConsul, startConsul } from "../../support/consul.ts";
import { missingEtcd, startEtcd } from "../../support/etcd.ts";
import { NETWORK } from "../../support/lease-fixture.ts";
import { LeaseKeeper } from "../../support/lease-keeper.ts";
import { testEnvironment } from "../../support/stores/store-factory.ts";
import { startTcpProxy } from "../../support/tcp-proxy.ts";
import { KeptLog, WatchLog } from "../../support/watch-log.ts";

const PREFIX = "/coreos.com/network";
const PATIENT = { timeout: 150_000, interval: 200 };
const signal = AbortSignal.timeout(600_000);
const SLOW = "warn lease store answers slowly, its deadlines are extended";

interface Kind {
  readonly name: string;
  readonly missing: string | null;
  /** Starts the server and returns its port. */
  start(): Promise<{ readonly port: number; stop(): Promise<void> }>;
  optionsFor(port: number): StoreOptions;
}

const KINDS: readonly Kind[] = [
  {
    name: "etcd",
    missing: missingEtcd(),
    start: async () => {
      const cluster = await startEtcd();
      return { port: cluster.members[0]?.port ?? 0, stop: () => cluster.stop() };
    },
    optionsFor: (port) => ({ store: "etcd", etcd: { endpoints: [`127.0.0.1:${port}`] } }),
  },
  {
    name: "Consul",
    missing: missingConsul(),
    start: async () => {
      const cluster = await startConsul();
      return { port: cluster.servers[0]?.port ?? 0, stop: () => cluster.stop() };
    },
    optionsFor: (port) => ({ store: "consul", consul: { addresses: [`127.0.0.1:${port}`] } }),
  },
];

type Cleanups = (() => unknown)[];

/** Run in reverse order when the test is over: tests of this file run side by side, because they mostly wait. */
function cleanupsOf(onTestFinished: TestContext["onTestFinished"]): Cleanups {
  const cleanups: Cleanups = [];
  onTestFinished(async () => {
    for (const cleanup of cleanups.reverse()) await cleanup();
  });
  return cleanups;
}

for (const { name, missing, start, optionsFor } of KINDS) {
  if (missing !== null && process.env.CI) throw new Error(missing);

  const label = `${name} behind a slow link${missing === null ? "" : ` (${missing})`}`;
  describe.skipIf(missing !== null).concurrent(label, () => {
    async function slowServer(delayMs: number, cleanups: Cleanups) {
      const server = await start();
      cleanups.push(() => server.stop());
      const proxy = await startTcpProxy(server.port, { delayMs });
      cleanups.push(() => proxy.close());
      const near = await openStore(optionsFor(server.port), testEnvironment);
      cleanups.push(() => near.close());
      const log = new KeptLog();
      const open = async (patienceMs?: number) => {
        const connection = await openStore(optionsFor(proxy.port), { ...testEnvironment, log, patienceMs });
        cleanups.push(() => connection.close());
        return connection.network(PREFIX);
      };
      const network = near.network(PREFIX);
      await network.config.write(NETWORK, null, signal);
      return { log, open, near: network, proxy };
    }

    async function joinThrough(delayMs: number, cleanups: Cleanups, ttlSeconds = 3600) {
      const server = await slowServer(delayMs, cleanups);
      const store = await server.open();
      const keeper = new LeaseKeeper({ store, number: 1, ttlSeconds });
      keeper.start();
      cleanups.push(() => keeper.stop());
      await vi.waitUntil(() => keeper.state === "held", PATIENT);
      return { ...server, store, keeper };
    }

    it("of 5 s for each message is joined", async ({ onTestFinished }) => {
      const cleanups = cleanupsOf(onTestFinished);
      await joinThrough(5_000, cleanups);
    });

    it("of 2 s for each message is joined, followed and named", async ({ onTestFinished, expect }) => {
      const cleanups = cleanupsOf(onTestFinished);
      const { store, near, log, keeper } = await joinThrough(2_000, cleanups);
      expect(log.lines).toContain(SLOW);
      expect(store.roundTripMs).toBeGreaterThan(2_000);
      const [own] = (await near.feed.list(signal)).entries;
      expect(own && (await store.leases.keepAlive(own, signal))).toBeGreaterThan(3_000);
      const watched = new WatchLog(store);
      cleanups.push(() => watched.stop());
      await vi.waitUntil(() => watched.listings === 1, PATIENT);
      // Longer than the silence after which a server is asked, and the deadline of its answer.
      await testEnvironment.clock.sleep(14_000, signal);
      await near.leases.create("10.2.200.0-24", "x", 60, signal);
      await vi.waitUntil(() => "10.2.200.0-24" in watched.leases, PATIENT);
      expect(watched.listings).toBe(1);
      expect(keeper.states).toEqual([]);
    });

    it("of 2 s for each message after the join keeps lease and watch, and is named", async (context) => {
      const { onTestFinished, expect } = context;
      const cleanups = cleanupsOf(onTestFinished);
      const { store, near, log, keeper, proxy } = await joinThrough(0, cleanups, 60);
      const watched = new WatchLog(store);
      cleanups.push(() => watched.stop());
      await vi.waitUntil(() => watched.listings === 1, PATIENT);
      expect(log.lines).not.toContain(SLOW);
      proxy.delay(2_000);
      // Longer than the TTL: the lease lives only if it is renewed through the slow link.
      await testEnvironment.clock.sleep(75_000, signal);
      expect(keeper.state).toBe("held");
      expect((await near.feed.list(signal)).entries.map(({ key }) => key)).toContain(keeper.key);
      await near.leases.create("10.2.201.0-24", "x", 60, signal);
      await vi.waitUntil(() => "10.2.201.0-24" in watched.leases, PATIENT);
      expect(keeper.states.filter(({ state }) => state !== "held")).toEqual([]);
      expect(log.lines).toContain(SLOW);
      expect(store.roundTripMs).toBeGreaterThan(2_000);
    });

    it("of 2 s for each message is read by a command, which does not retry", async (context) => {
      const { open } = await slowServer(2_000, cleanupsOf(context.onTestFinished));
      const store = await open(15_000);
      context.expect((await store.config.read(signal))?.text).toBe(NETWORK);
    });
  });
}
