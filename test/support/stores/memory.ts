/** The memory store, whose connections share one variable. */

import { systemClock } from "../../../ipam/clock.ts";
import { MemoryHolder, openMemoryStore } from "./memory-store.ts";
import { putInto, type StoreFactory, testEnvironment } from "./store-factory.ts";

export const memoryStore: StoreFactory = {
  name: "memory",
  largestValue: 4 << 20,
  missing: async () => null,
  start: async () => {
    const holder = new MemoryHolder(systemClock);
    return {
      connect: async () => openMemoryStore(holder, testEnvironment),
      put: (key, value) => putInto(holder, key, value),
      stop: async () => {},
    };
  },
};
