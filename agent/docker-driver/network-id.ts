/** Ids of named networks as they come back from the engine. */

import type { NetworkId } from "../../ipam/named-networks/named-network.ts";

export type { NetworkId } from "../../ipam/named-networks/named-network.ts";

export function isNetworkId(text: string): text is NetworkId {
  return /^[0-9a-f]{32}$/.test(text);
}
