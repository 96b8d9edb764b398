/** From the daemon's configuration to a connection to its store. The client library is loaded only when it is used. */

import { UnsupportedError } from "../ipam/errors.ts";
import type { StoreConnection } from "../ipam/store.ts";
import type { StoreEnvironment } from "../ipam/stores/options.ts";
import type { StoreSettings } from "./config.ts";

/** Opens the configured store. Throws UnsupportedError for a kind that this version does not have. */
export async function openConfiguredStore(
  store: StoreSettings,
  environment: StoreEnvironment,
): Promise<StoreConnection> {
  switch (store.kind) {
    case "file": {
      const { openFileStore } = await import("../ipam/stores/file.ts");
      return openFileStore(store.directory, environment);
    }
    default:
      throw new UnsupportedError(
        `--store ${store.kind} is not in this version of tulle; use --store file:DIR`,
      );
  }
}
