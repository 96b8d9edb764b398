/** A real etcd of one member on loopback. */

import { openStore } from "../../../ipam/stores/registry.ts";
import { missingEtcd, startEtcd } from "../etcd.ts";
import { type StoreFactory, testEnvironment } from "./store-factory.ts";

export const etcdStore: StoreFactory = {
  name: "etcd",
  largestValue: 1_500_000,
  missing: async () => missingEtcd(),
  start: async () => {
    const cluster = await startEtcd();
    return {
      connect: () => openStore({ store: "etcd", etcd: { endpoints: cluster.endpoints } }, testEnvironment),
      stop: () => cluster.stop(),
    };
  },
};
