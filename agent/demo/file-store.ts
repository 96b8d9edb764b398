/** Writes a network's configuration to an embedded store, as an administrator does once. */

import { openFileStore } from "../../ipam/stores/file/store.ts";
import type { StoreEnvironment } from "../../ipam/stores/options.ts";

const TIMEOUT_MS = 5_000;

/** Writes the network's configuration; returns the value for --store. */
export async function createFileStore(
  directory: string,
  prefix: string,
  config: object,
  environment: StoreEnvironment,
): Promise<string> {
  const connection = openFileStore(directory, environment);
  try {
    const text = JSON.stringify(config);
    await connection.network(prefix).config.write(text, null, AbortSignal.timeout(TIMEOUT_MS));
  } finally {
    await connection.close();
  }
  return `file:${directory}`;
}
