/**
 * Selects a store by name. A new store is one folder and one line here.
 *
 * Client libraries are imported only when their store is chosen.
 */

import { ConfigError } from "../errors.ts";
import type { StoreConnection } from "./contracts.ts";
import type { ConsulOptions, EtcdOptions, StoreEnvironment, StoreOptions } from "./options.ts";

/** flanneld's own default. */
const DEFAULT_ETCD: EtcdOptions = { endpoints: ["http://127.0.0.1:4001", "http://127.0.0.1:2379"] };

/** Consul's own default. */
const DEFAULT_CONSUL: ConsulOptions = { addresses: ["127.0.0.1:8500"] };

type Opener = (
  argument: string,
  options: StoreOptions,
  environment: StoreEnvironment,
) => Promise<StoreConnection>;

const STORES: Readonly<Record<string, Opener>> = {
  etcd: async (_argument, options, environment) =>
    (await import("./etcd/store.ts")).openEtcdStore(options.etcd ?? DEFAULT_ETCD, environment),
  file: async (directory, _options, environment) =>
    (await import("./file/store.ts")).openFileStore(directory, environment),
  consul: async (_argument, options, environment) =>
    (await import("./consul/store.ts")).openConsulStore(options.consul ?? DEFAULT_CONSUL, environment),
};

/** Opens the store that `options.store` names. ConfigError for an unknown name or unusable options. */
export async function openStore(
  options: StoreOptions,
  environment: StoreEnvironment,
): Promise<StoreConnection> {
  const [, name = "", argument = ""] = /^([^:]*):?(.*)$/.exec(options.store) ?? [];
  const open = Object.hasOwn(STORES, name) ? STORES[name] : undefined;
  if (!open) throw new ConfigError(`--store ${options.store} is unknown: choose etcd, consul or file:DIR`);
  return await open(argument, options, environment);
}
