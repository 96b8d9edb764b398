/** From the daemon's configuration to a connection to its store. The registry lists the stores. */

import type { StoreConnection } from "../../ipam/stores/contracts.ts";
import type { StoreEnvironment, StoreOptions } from "../../ipam/stores/options.ts";
import { openStore } from "../../ipam/stores/registry.ts";
import type { StoreSettings } from "../config/config.ts";

/** Opens the configured store. ConfigError when it cannot be used as configured. */
export async function openConfiguredStore(
  settings: StoreSettings,
  environment: StoreEnvironment,
): Promise<StoreConnection> {
  return await openStore(storeOptionsOf(settings), environment);
}

function storeOptionsOf(settings: StoreSettings): StoreOptions {
  switch (settings.kind) {
    case "file":
      return { store: `file:${settings.directory}` };
    case "etcd": {
      const { endpoints, username, password, tls } = settings;
      return { store: "etcd", etcd: { endpoints, username, password, ...tls } };
    }
    case "consul": {
      const { kind, prefix: _, tls, ...consul } = settings;
      return { store: kind, consul: { ...consul, ...tls } };
    }
  }
}
