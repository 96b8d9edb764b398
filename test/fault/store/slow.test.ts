/**
 * Stores that need seconds for each message, in each direction: joined, kept and followed by a host, read by a command.
 * Real servers behind a proxy that delays.
 */

import { afterEach, describe, expect, it } from "vitest";
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

for (const { name, missing, start, optionsFor } of KINDS) {
  if (missing !== null && process.env.CI) throw new Error(missing);

  describe.skipIf(missing !== null)(
    `${name} behind a slow link${missing === null ? "" : ` (${missing})`}`,
    () => {
      const cleanups: (() => unknown)[] = [];
      afterEach(async () => {
        for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
      });

      async function slowServer(delayMs: number) {
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
        return { proxy, log, open, near: near.network(PREFIX) };
      }

      it.each([2_000, 5_000])("of %i ms is joined, followed and named", async (delayMs) => {
        const { open, near, log } = await slowServer(delayMs);
        await near.config.write(NETWORK, null, signal);
        const store = await open();
        const keeper = new LeaseKeeper({ store, number: 1, ttlSeconds: 3600 });
        keeper.start();
        cleanups.push(() => keeper.stop());
        await expect.poll(() => keeper.state, PATIENT).toBe("held");
        await expect.poll(() => log.lines, PATIENT).toContain(SLOW);
        expect(store.roundTripMs).toBeGreaterThan(delayMs);
        const watched = new WatchLog(store);
        cleanups.push(() => watched.stop());
        await expect.poll(() => watched.listings, PATIENT).toBe(1);
        // Longer than the silence after which a server is asked, and the deadline of its answer.
        await testEnvironment.clock.sleep(2 * delayMs + 10_000, signal);
        await near.leases.create("10.2.200.0-24", "x", 60, signal);
        await expect.poll(() => watched.leases, PATIENT).toHaveProperty(["10.2.200.0-24"]);
        expect(watched.listings).toBe(1);
        expect(keeper.states).toEqual([]);
      });

      it("of 2 s is read by a command, which does not retry", async () => {
        const { open, near } = await slowServer(2_000);
        await near.config.write(NETWORK, null, signal);
        expect((await (await open(15_000)).config.read(signal))?.text).toBe(NETWORK);
      });
    },
  );
}
