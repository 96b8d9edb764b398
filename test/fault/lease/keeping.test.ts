/** A host's lease through faults of etcd and Consul that the watch alone does not show, with real servers. */

import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { StoreConnection, SubnetStore } from "../../../ipam/store.ts";
import { openStore } from "../../../ipam/stores/registry.ts";
import { missingConsul, startConsul } from "../../support/consul.ts";
import { missingEtcd, startEtcd } from "../../support/etcd.ts";
import { NETWORK, value } from "../../support/lease-fixture.ts";
import { LeaseKeeper } from "../../support/lease-keeper.ts";
import { testEnvironment } from "../../support/stores/store-factory.ts";

const PREFIX = "/keeping/network";
const TTL_SECONDS = 4;
const DAY_MS = 24 * 3600 * 1000;
const signal = AbortSignal.timeout(600_000);
/** Its date can be moved. */
const environment = { ...testEnvironment, dateMs: () => Date.now() };
const SOON = { timeout: 10_000, interval: 20 };

/** A server with the network's configuration, and what its administrator does to it. */
interface Server {
  connect(): Promise<StoreConnection>;
  /** Keeps a copy of all that is there now. */
  save(): void;
  /** Puts the copy in place of what is there. */
  restore(): Promise<void>;
}

interface Kind {
  readonly name: string;
  readonly missing: string | null;
  start(cleanup: (undo: () => unknown) => void): Promise<Server>;
}

const etcd: Kind = {
  name: "etcd",
  missing: missingEtcd(),
  start: async (cleanup) => {
    const cluster = await startEtcd();
    cleanup(() => cluster.stop());
    const file = join(cluster.directory, "snapshot.db");
    return {
      connect: () => openStore({ store: "etcd", etcd: { endpoints: cluster.endpoints } }, environment),
      save: () => void cluster.ctl("snapshot", "save", file),
      restore: () => cluster.restore(file),
    };
  },
};

const consul: Kind = {
  name: "Consul",
  missing: missingConsul(),
  start: async (cleanup) => {
    const cluster = await startConsul();
    cleanup(() => cluster.stop());
    const file = join(cluster.directory, "snapshot");
    return {
      connect: () => openStore({ store: "consul", consul: { addresses: cluster.addresses } }, environment),
      save: () => cluster.ctl("snapshot", "save", file),
      restore: async () => cluster.ctl("snapshot", "restore", file),
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

    async function connect(server: Server): Promise<SubnetStore> {
      const connection = await server.connect();
      undos.push(() => connection.close());
      return connection.network(PREFIX);
    }

    async function keep(server: Server, number: number): Promise<LeaseKeeper> {
      const keeper = new LeaseKeeper({ store: await connect(server), number, ttlSeconds: TTL_SECONDS });
      undos.push(() => keeper.stop());
      const running = keeper.run();
      running.catch(() => undefined);
      await Promise.race([running, expect.poll(() => keeper.state, SOON).toBe("held")]);
      return keeper;
    }

    /** A running server, the view of somebody else, and how to start hosts. */
    async function lab() {
      const server = await kind.start((undo) => undos.push(undo));
      const store = await connect(server);
      await store.writeConfig(NETWORK, null, signal);
      /** Values by key. */
      const leases = async () =>
        Object.fromEntries((await store.list(signal)).entries.map((entry) => [entry.key, entry.value]));
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

    it("that somebody else took after a backup was restored is not taken back", async () => {
      const { server, store, leases, keep } = await lab();
      server.save();
      const keeper = await keep(1);
      const key = keeper.key ?? "";
      await server.restore();
      // Whoever comes first has it; here that may be either.
      const theirs = await expect
        .poll(() => store.create(key, value(7), 60, signal).then(() => "theirs", codeOf), SOON)
        .toMatch(/theirs|TULLE_SUBNET_TAKEN/)
        .then(async () => (await leases())[key] === value(7));
      await expect.poll(() => keeper.state, SOON).toBe(theirs ? "conflict" : "held");
      expect((await leases())[key]).toBe(theirs ? value(7) : value(1));
    });

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

function codeOf(error: { readonly code?: string }): string {
  return error.code ?? String(error);
}
