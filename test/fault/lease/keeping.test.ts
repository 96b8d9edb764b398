/** A host's lease through faults of etcd and Consul that the watch alone does not show, with real servers. */

import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { NetworkStore, StoreConnection } from "../../../ipam/stores/contracts.ts";
import { openStore } from "../../../ipam/stores/registry.ts";
import { missingConsul, startConsul } from "../../support/consul.ts";
import { missingEtcd, startEtcd } from "../../support/etcd.ts";
import { NETWORK, value } from "../../support/lease-fixture.ts";
import { LeaseKeeper } from "../../support/lease-keeper.ts";
import { SOON } from "../../support/patience.ts";
import { testEnvironment } from "../../support/stores/store-factory.ts";
import { WatchLog } from "../../support/watch-log.ts";

const PREFIX = "/keeping/network";
const TTL_SECONDS = 4;
/** Outlives an outage of four seconds, whenever the last renewal was. */
const LONG_TTL_SECONDS = 8;
const HOSTS = 100;
const DAY_MS = 24 * 3600 * 1000;
const signal = AbortSignal.timeout(600_000);
/** Its date can be moved. */
const environment = { ...testEnvironment, dateMs: () => Date.now() };

/** A server with the network's configuration, and what its administrator does to it. */
interface Server {
  connect(): Promise<StoreConnection>;
  /** Keeps a copy of all that is there now. */
  save(): void;
  /** Puts the copy in place of what is there. */
  restore(): Promise<void>;
  kill(): Promise<void>;
  start(): Promise<void>;
  hang(): Promise<void>;
  goOn(): void;
}

interface Kind {
  readonly name: string;
  readonly missing: string | null;
  /** How the server fails, and for how many seconds. */
  readonly outages: readonly (readonly ["killed" | "hung", number])[];
  start(cleanup: (undo: () => unknown) => void): Promise<Server>;
}

const etcd: Kind = {
  name: "etcd",
  missing: missingEtcd(),
  // keepers.test.ts does this to etcd, by two processes and with peers.
  outages: [],
  start: async (cleanup) => {
    const cluster = await startEtcd();
    cleanup(() => cluster.stop());
    const file = join(cluster.directory, "snapshot.db");
    const member = only(cluster.members);
    return {
      connect: () => openStore({ store: "etcd", etcd: { endpoints: cluster.endpoints } }, environment),
      save: () => void cluster.ctl("snapshot", "save", file),
      restore: () => cluster.restore(file),
      kill: () => member.kill(),
      start: () => member.start(),
      hang: () => member.pause(),
      goOn: () => member.resume(),
    };
  },
};

const consul: Kind = {
  name: "Consul",
  missing: missingConsul(),
  outages: [
    ["killed", 4],
    ["hung", 4],
    ["killed", LONG_TTL_SECONDS + 2],
  ],
  start: async (cleanup) => {
    const cluster = await startConsul();
    cleanup(() => cluster.stop());
    const file = join(cluster.directory, "snapshot");
    const member = only(cluster.servers);
    return {
      connect: () => openStore({ store: "consul", consul: { addresses: cluster.addresses } }, environment),
      save: () => cluster.ctl("snapshot", "save", file),
      restore: async () => cluster.ctl("snapshot", "restore", file),
      kill: () => member.kill(),
      start: () => member.start(),
      hang: () => member.pause(),
      goOn: () => member.resume(),
    };
  },
};

for (const kind of [etcd, consul]) {
  const { missing } = kind;
  if (missing !== null && process.env.CI) throw new Error(missing);

  describe.skipIf(missing !== null)(`a lease in ${kind.name}`, () => {
    const undos: (() => unknown)[] = [];
    afterEach(async () => {
      for (const undo of undos.splice(0).reverse()) await undo();
    });

    async function connect(server: Server): Promise<NetworkStore> {
      const connection = await server.connect();
      undos.push(() => connection.close());
      return connection.network(PREFIX);
    }

    async function launch(server: Server, number: number, ttlSeconds: number): Promise<LeaseKeeper> {
      const keeper = new LeaseKeeper({ store: await connect(server), number, ttlSeconds });
      undos.push(() => keeper.stop());
      keeper.start();
      return keeper;
    }

    async function keep(server: Server, number: number): Promise<LeaseKeeper> {
      const keeper = await launch(server, number, TTL_SECONDS);
      await expect.poll(() => keeper.state, SOON).toBe("held");
      return keeper;
    }

    /** A running server, another client's view, and how to start hosts. */
    async function lab() {
      const server = await kind.start((undo) => undos.push(undo));
      const store = await connect(server);
      await store.config.write(NETWORK, null, signal);
      /** Values by key. */
      const leases = async () =>
        Object.fromEntries((await store.feed.list(signal)).entries.map((entry) => [entry.key, entry.value]));
      return { server, store, leases, keep: (number: number) => keep(server, number) };
    }

    it("that a restored backup does not know is there again, under the same key", async () => {
      const { server, leases, keep } = await lab();
      const older = await keep(1);
      server.save();
      const younger = await keep(2);
      const before = await leases();
      expect(Object.keys(before).sort()).toEqual([older.key, younger.key].sort());
      await server.restore();
      await expect.poll(() => leases().catch(() => null), SOON).toEqual(before);
      await expect.poll(() => [older.state, younger.state], SOON).toEqual(["held", "held"]);
    });

    it("that another host took after a backup was restored is not taken back", async () => {
      const { server, store, leases, keep } = await lab();
      server.save();
      const keeper = await keep(1);
      const key = keeper.key ?? "";
      await server.restore();
      // The first writer gets it; here that may be either.
      const theirs = await expect
        .poll(() => store.leases.create(key, value(7), 60, signal).then(() => "theirs", codeOf), SOON)
        .toMatch(/theirs|TULLE_SUBNET_TAKEN/)
        .then(async () => (await leases())[key] === value(7));
      await expect.poll(() => keeper.state, SOON).toBe(theirs ? "conflict" : "held");
      expect((await leases())[key]).toBe(theirs ? value(7) : value(1));
    });

    it.each(kind.outages)(
      "is never let go by any of a hundred hosts while the server is %s for %d s",
      async (fault, seconds) => {
        const { server, store, leases } = await lab();
        const keepers = await Promise.all(
          Array.from({ length: HOSTS }, (_, index) => launch(server, index + 1, LONG_TTL_SECONDS)),
        );
        const states = () => [...new Set(keepers.map(({ state }) => state))];
        await expect.poll(states, { timeout: 30_000 }).toEqual(["held"]);
        const watched = new WatchLog(store);
        undos.push(() => watched.stop());
        const before = await leases();
        expect(Object.keys(before)).toHaveLength(HOSTS);
        if (fault === "killed") await server.kill();
        else await server.hang();
        await testEnvironment.clock.sleep(seconds * 1000, signal);
        if (fault === "killed") await server.start();
        else server.goOn();
        await expect.poll(() => leases().catch(() => null), SOON).toEqual(before);
        await expect.poll(states, SOON).toEqual(["held"]);
        const changes = watched.messages.flatMap((message) =>
          message.type === "list" ? [] : message.changes,
        );
        expect(changes.filter(({ type }) => type === "delete")).toEqual([]);
        for (const { log } of keepers) expect(log.lines.length).toBeLessThan(10);
      },
    );

    it.each([HOSTS, HOSTS - 1])(
      "%d subnets for a hundred hosts that start at once are all given out",
      async (count) => {
        const server = await kind.start((undo) => undos.push(undo));
        const store = await connect(server);
        const range = { SubnetMin: "10.2.1.0", SubnetMax: `10.2.${count}.0` };
        const config = { Network: "10.2.0.0/16", ...range, Backend: { Type: "vxlan" } };
        await store.config.write(JSON.stringify(config), null, signal);
        const keepers = await Promise.all(
          Array.from({ length: HOSTS }, (_, index) => launch(server, index + 1, 600)),
        );
        const holders = () => keepers.filter(({ state }) => state === "held");
        await expect.poll(() => holders().length, { timeout: 60_000, interval: 50 }).toBe(count);
        const { entries } = await store.feed.list(signal);
        expect(entries.map(({ key }) => key).sort()).toEqual(
          holders()
            .map(({ key }) => key)
            .sort(),
        );
        expect(entries).toHaveLength(count);
        const waiting = keepers.find(({ state }) => state === "joining");
        if (waiting === undefined) return;
        // It logs why, and gets the first subnet that is released.
        await expect
          .poll(() => waiting.log.lines, SOON)
          .toContainEqual(
            expect.objectContaining({
              message: "network cannot be joined yet",
              fields: expect.objectContaining({ code: "TULLE_NO_FREE_SUBNET" }),
            }),
          );
        const [leaver] = holders();
        leaver?.stop();
        const entry = entries.find(({ key }) => key === leaver?.key);
        if (entry !== undefined) await store.leases.remove(entry, signal);
        await expect.poll(() => waiting.state, { timeout: 60_000, interval: 50 }).toBe("held");
        expect(waiting.key).toBe(leaver?.key);
      },
    );

    it("does not feel the date jump by a day, in either direction", async () => {
      const { leases, keep } = await lab();
      const keeper = await keep(1);
      const before = await leases();
      try {
        for (const jumpMs of [DAY_MS, -2 * DAY_MS]) {
          vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + jumpMs, shouldAdvanceTime: true });
          await testEnvironment.clock.sleep(TTL_SECONDS * 700, signal);
          expect(await leases()).toEqual(before);
        }
      } finally {
        vi.useRealTimers();
      }
      expect(keeper.states).toEqual([]);
      expect(keeper.log.lines.filter(({ level }) => level === "warn")).toEqual([]);
    });
  });
}

function only<T>([one]: readonly T[]): T {
  if (one === undefined) throw new Error("no server");
  return one;
}

function codeOf(error: { readonly code?: string }): string {
  return error.code ?? String(error);
}
