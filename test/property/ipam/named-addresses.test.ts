/**
 * Hosts take and release addresses of a small network, crash, and lose the store at random: no address is ever used by
 * two containers.
 */

import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import { Address } from "../../../ipam/addresses/ip.ts";
import { type Clock, systemClock } from "../../../ipam/clock.ts";
import { StoreError } from "../../../ipam/errors.ts";
import type { NamedNetwork } from "../../../ipam/named-networks/named-network.ts";
import type { Records } from "../../../ipam/stores/contracts.ts";
import { createdNetwork, Folders, startBook } from "../../support/named-networks/lab.ts";
import { MemoryHolder, openMemoryStore } from "../../support/stores/memory-store.ts";
import { testEnvironment } from "../../support/stores/store-factory.ts";

const HOSTS = 3;
const SPEED = 40;

/** Time runs faster, because a host that is down is asked for more than a second. */
const fastClock: Clock = {
  monotonicMs: () => systemClock.monotonicMs() * SPEED,
  sleep: (ms, signal) => systemClock.sleep(ms / SPEED, signal),
};

type Fault = "none" | "before" | "after" | "slow";
type Step =
  | { readonly do: "take"; readonly host: number; readonly wanted: number | null }
  | { readonly do: "release"; readonly host: number; readonly which: number }
  | { readonly do: "crash"; readonly host: number }
  | { readonly do: "away"; readonly host: number; readonly isAway: boolean }
  | { readonly do: "wait" };

const hosts = fc.nat(HOSTS - 1);
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("take" as const),
      host: hosts,
      wanted: fc.option(fc.integer({ min: 2, max: 14 }), { freq: 3 }),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant("release" as const), host: hosts, which: fc.nat(20) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("crash" as const), host: hosts }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("away" as const), host: hosts, isAway: fc.boolean() }),
  },
  { weight: 3, arbitrary: fc.constant({ do: "wait" as const }) },
);
const faults = fc.infiniteStream(
  fc.oneof(
    { weight: 12, arbitrary: fc.constant<Fault>("none") },
    { weight: 3, arbitrary: fc.constant<Fault>("slow") },
    { weight: 1, arbitrary: fc.constant<Fault>("before") },
    { weight: 1, arbitrary: fc.constant<Fault>("after") },
  ),
);

const folders = new Folders();
afterAll(() => folders.dispose());

/** A host whose daemon may crash; its containers live on. */
class Host {
  readonly #records: Records;
  readonly #number: number;
  readonly #stateDir = folders.make();
  readonly #faults: Iterator<Fault>;
  readonly #pending = new Set<Promise<unknown>>();
  /** Addresses of containers that run. */
  readonly living = new Set<string>();
  isAway = false;
  #life = { isOver: false };
  #book: ReturnType<typeof startBook>;

  constructor(records: Records, number: number, faultsOfHost: Iterator<Fault>) {
    this.#records = records;
    this.#number = number;
    this.#faults = faultsOfHost;
    this.#book = this.#start();
  }

  take(network: NamedNetwork, wanted: Address | null): void {
    const life = this.#life;
    const signal = AbortSignal.timeout(30_000);
    const taken = this.#book.part.take(network, 4, wanted, null, signal).then(
      (address) => {
        if (!life.isOver) this.living.add(address.toString());
      },
      () => undefined,
    );
    this.#pending.add(taken);
    taken.finally(() => this.#pending.delete(taken));
  }

  release(network: NamedNetwork, which: number): void {
    const address = [...this.living][which % Math.max(1, this.living.size)];
    if (address === undefined) return;
    this.living.delete(address);
    this.#book.part.release(network.id, Address.parse(address));
  }

  /** The next daemon compares with the containers that there are. */
  async crash(network: NamedNetwork): Promise<void> {
    await this.stop();
    this.#life = { isOver: false };
    this.#book = this.#start();
    const { part } = this.#book;
    for (const address of part.given(network.id))
      if (!this.living.has(address.toString())) part.release(network.id, address);
  }

  async stop(): Promise<void> {
    this.#life.isOver = true;
    await this.#book.stop();
    await Promise.all(this.#pending);
  }

  #start(): ReturnType<typeof startBook> {
    const records = this.#faulty(this.#life);
    return startBook({ records, number: this.#number, stateDir: this.#stateDir, clock: fastClock });
  }

  #faulty(life: { readonly isOver: boolean }): Records {
    const around = async <T>(isWrite: boolean, call: () => Promise<T>): Promise<T> => {
      const fault: Fault = this.#faults.next().value ?? "none";
      if (fault === "slow") await turn();
      if (life.isOver || this.isAway || fault === "before") throw new StoreError("away", { retryable: true });
      const result = await call();
      if (fault === "after" && isWrite)
        throw new StoreError("lost answer", { retryable: true, details: { outcomeUnknown: true } });
      return result;
    };
    const inner = this.#records;
    return {
      list: (...args) => around(false, () => inner.list(...args)),
      read: (...args) => around(false, () => inner.read(...args)),
      write: (...args) => around(true, () => inner.write(...args)),
      keepAlive: (...args) => around(true, () => inner.keepAlive(...args)),
      remove: (...args) => around(true, () => inner.remove(...args)),
      watch: (...args) => inner.watch(...args),
    };
  }
}

function requireDistinct(all: readonly Host[]): void {
  const used = all.flatMap(({ living }) => [...living]);
  expect(used.length).toBe(new Set(used).size);
}

it("gives no address to two containers", async () => {
  let most = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(steps, { minLength: 20, maxLength: 60 }),
      fc.tuple(faults, faults, faults),
      async (plan, streams) => {
        const connection = openMemoryStore(new MemoryHolder(systemClock), testEnvironment);
        const { records } = connection.network("/test");
        const signal = AbortSignal.timeout(30_000);
        const network = await createdNetwork(records, "blue", "10.9.8.0/28", signal);
        const all = streams.map((stream, number) => new Host(records, number + 1, stream));
        for (const step of plan) {
          const host = "host" in step ? all[step.host] : undefined;
          if (step.do === "take")
            host?.take(network, step.wanted === null ? null : Address.parse(`10.9.8.${step.wanted}`));
          else if (step.do === "release") host?.release(network, step.which);
          else if (step.do === "crash") await host?.crash(network);
          else if (step.do === "away" && host) host.isAway = step.isAway;
          else await systemClock.sleep(5, signal);
          requireDistinct(all);
        }
        for (const host of all) host.isAway = false;
        await systemClock.sleep(20, signal);
        requireDistinct(all);
        for (const host of all) await host.stop();
        most = Math.max(most, all.flatMap(({ living }) => [...living]).length);
        await connection.close();
      },
    ),
    { numRuns: 40, endOnFailure: true },
  );
  // Otherwise the hosts never competed for the last addresses.
  expect(most).toBeGreaterThan(4);
});
