/** Every store that the conformance suite runs against. */

import { consulStore } from "./consul.ts";
import { etcd35Store, etcdStore } from "./etcd.ts";
import { fileStore } from "./file.ts";
import { memoryStore } from "./memory.ts";
import type { StoreFactory } from "./store-factory.ts";

export const storeFactories: readonly StoreFactory[] = [
  memoryStore,
  fileStore,
  etcdStore,
  etcd35Store,
  consulStore,
];
