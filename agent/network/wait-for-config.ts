/** Waits until the store holds a network configuration that is valid, and says once what is missing or wrong. */

import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { parseNetworkConfig } from "../../ipam/config/network-config-parser.ts";
import { ConfigError, errorMessage } from "../../ipam/errors.ts";
import { FailureSeries } from "../../ipam/log.ts";
import { retryPatiently } from "../../ipam/retry.ts";
import type { LeaseFeed, NetworkStore, StoreListing, StoreMessage } from "../../ipam/stores/contracts.ts";
import type { Runtime } from "./runtime.ts";

export interface FirstListing {
  readonly listing: StoreListing;
  readonly networkConfig: NetworkConfig;
}

/**
 * Takes messages until one leads to a valid configuration. Throws ConfigError when they end before, and StoreError where
 * the store does not answer and a retry would not help.
 */
export async function waitForNetworkConfig(
  { description, feed }: Pick<NetworkStore, "description"> & { readonly feed: Pick<LeaseFeed, "list"> },
  messages: AsyncIterator<StoreMessage>,
  runtime: Pick<Runtime, "clock" | "random" | "logger">,
  signal: AbortSignal,
): Promise<FirstListing> {
  const { logger } = runtime;
  const failures = new FailureSeries(logger, "leases cannot be listed yet", "leases can be listed now");
  let said: string | null = null;
  for (;;) {
    const { value: message, done } = await messages.next();
    if (done) throw new ConfigError("stopped before the network had a configuration");
    if (!hasConfig(message)) continue;
    const listing =
      message.type === "list"
        ? message
        : await retryPatiently(() => feed.list(signal), { ...runtime, failures }, signal);
    const found = readConfig(listing);
    if (typeof found !== "string") return { listing, networkConfig: found };
    if (found !== said)
      logger.warn("waiting for a network configuration", { store: description, problem: found });
    said = found;
  }
}

/** Whether the message says what the configuration is. */
function hasConfig(message: StoreMessage): boolean {
  return message.type === "list" || message.changes.some(({ type }) => type === "config");
}

/** The configuration, or one sentence on what is missing or wrong. */
function readConfig({ config }: StoreListing): NetworkConfig | string {
  if (config === null) return `there is none; write it with "tulle net init" or to <prefix>/config`;
  try {
    return parseNetworkConfig(config);
  } catch (error) {
    return errorMessage(error);
  }
}
