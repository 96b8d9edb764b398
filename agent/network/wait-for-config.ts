/** Waits until the store holds a network configuration that is valid, and says once what is missing or wrong. */

import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { parseNetworkConfig } from "../../ipam/config/network-config-parser.ts";
import { ConfigError, errorMessage } from "../../ipam/errors.ts";
import type { Logger } from "../../ipam/log.ts";
import type { NetworkStore, StoreListing, StoreMessage } from "../../ipam/stores/contracts.ts";

const LIST_TIMEOUT_MS = 30_000;

export interface FirstListing {
  readonly listing: StoreListing;
  readonly networkConfig: NetworkConfig;
}

/** Takes messages until one leads to a valid configuration. Throws ConfigError when they end before. */
export async function waitForNetworkConfig(
  store: NetworkStore,
  messages: AsyncIterator<StoreMessage>,
  logger: Logger,
): Promise<FirstListing> {
  let said: string | null = null;
  for (;;) {
    const { value: message, done } = await messages.next();
    if (done) throw new ConfigError("stopped before the network had a configuration");
    const text = configTextIn(message);
    if (text === undefined) continue;
    let problem = `there is none; write it with "tulle net init" or to <prefix>/config`;
    if (text !== null) {
      try {
        const networkConfig = parseNetworkConfig(text);
        return { networkConfig, listing: await completeListing(store, message) };
      } catch (error) {
        problem = errorMessage(error);
      }
    }
    if (problem !== said)
      logger.warn("waiting for a network configuration", { store: store.description, problem });
    said = problem;
  }
}

async function completeListing(store: NetworkStore, message: StoreMessage): Promise<StoreListing> {
  return message.type === "list" ? message : await store.feed.list(AbortSignal.timeout(LIST_TIMEOUT_MS));
}

/** The configuration that a message carries: undefined when it says nothing of it. */
function configTextIn(message: StoreMessage): string | null | undefined {
  if (message.type === "list") return message.config;
  const change = message.changes.findLast((candidate) => candidate.type === "config");
  return change?.type === "config" ? change.value : undefined;
}
