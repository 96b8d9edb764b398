/** Real etcd of one member on loopback, in the versions that are in use. */

import { errorMessage } from "../../../ipam/errors.ts";
import { openStore } from "../../../ipam/stores/registry.ts";
import { type EtcdOptions, fetchEtcd35, missingEtcd, startEtcd } from "../etcd.ts";
import { type RunningStore, type StoreFactory, testEnvironment } from "./store-factory.ts";

/** Below etcd's limit for a whole request, 1.5 MiB (--max-request-bytes). */
const LARGEST_VALUE = 1_500_000;

export const etcdStore: StoreFactory = {
  name: "etcd",
  largestValue: LARGEST_VALUE,
  missing: async () => missingEtcd(),
  start: () => start({}),
};

export const etcd35Store: StoreFactory = {
  name: "etcd 3.5",
  largestValue: LARGEST_VALUE,
  isOptional: true,
  missing: async () => {
    try {
      fetchEtcd35();
      return null;
    } catch (error) {
      return `etcd 3.5 cannot be had: ${errorMessage(error)}`;
    }
  },
  start: () => start({ programs: fetchEtcd35() }),
};

async function start(options: EtcdOptions): Promise<RunningStore> {
  const cluster = await startEtcd(options);
  const etcd = { endpoints: cluster.endpoints };
  return {
    connect: () => openStore({ store: "etcd", etcd }, testEnvironment),
    put: async (key, value) => void cluster.ctl("put", "--", key, value),
    stop: () => cluster.stop(),
  };
}
