/** A real Consul of one server on loopback. */

import { openStore } from "../../../ipam/stores/registry.ts";
import { missingConsul, startConsul } from "../consul.ts";
import { type StoreFactory, testEnvironment } from "./store-factory.ts";

export const consulStore: StoreFactory = {
  name: "consul",
  // Consul's kv_max_value_size and the limit of a transaction, half a MiB each; a transaction holds the value in base64.
  largestValue: 380_000,
  missing: async () => missingConsul(),
  start: async () => {
    const cluster = await startConsul();
    const consul = { addresses: cluster.addresses };
    return {
      connect: () => openStore({ store: "consul", consul }, testEnvironment),
      put: async (key, value) => void (await cluster.api("PUT", `kv${encodeURI(key)}`, value)),
      stop: () => cluster.stop(),
    };
  },
};
