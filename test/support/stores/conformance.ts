/** Runs a contract's conformance suite against every store. */

import { afterAll, beforeAll, describe } from "vitest";
import type { NetworkStore, StoreConnection } from "../../../ipam/stores/contracts.ts";
import { storeFactories } from "./all.ts";
import type { RunningStore, StoreFactory } from "./store-factory.ts";

/** One running store, for all tests of a suite. */
export interface StoreUnderTest {
  readonly factory: StoreFactory;
  readonly running: RunningStore;
  /** Shared by the tests. */
  readonly connection: StoreConnection;
  /** A network of its own for each call. */
  network(): NetworkStore;
  /** The prefix of the network that `network` returned last. */
  readonly prefix: string;
}

/** Declares `suite` for each store. The store runs while tests do, not while they are declared. */
export async function describeStores(
  contract: string,
  suite: (store: StoreUnderTest) => void,
): Promise<void> {
  for (const factory of storeFactories) {
    const missing = await factory.missing();
    if (missing !== null && process.env.CI && !factory.isOptional) throw new Error(missing);
    const name = `${contract} of ${factory.name}${missing === null ? "" : ` (${missing})`}`;
    describe.skipIf(missing !== null)(name, () => {
      let running: RunningStore | null = null;
      let connection: StoreConnection | null = null;
      let counter = 0;
      beforeAll(async () => {
        running = await factory.start();
        connection = await running.connect();
      });
      afterAll(async () => {
        await connection?.close();
        await running?.stop();
      });
      suite({
        factory,
        get running() {
          return started(running);
        },
        get connection() {
          return started(connection);
        },
        get prefix() {
          return `/test/${counter}`;
        },
        network() {
          counter += 1;
          return started(connection).network(`/test/${counter}`);
        },
      });
    });
  }
}

function started<T>(part: T | null): T {
  if (part === null) throw new TypeError("the store has not been started");
  return part;
}
