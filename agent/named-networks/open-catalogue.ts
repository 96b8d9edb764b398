/** The catalogue of named networks as a command opens it, with the overlay network that they must not meet. */

import { randomBytes } from "node:crypto";
import { entriesOf } from "../../ipam/addresses/ip.ts";
import type { Clock } from "../../ipam/clock.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { parseNetworkConfig } from "../../ipam/config/network-config-parser.ts";
import { TulleError } from "../../ipam/errors.ts";
import { StoreCatalogue } from "../../ipam/named-networks/catalogue.ts";
import type { UsedRange } from "../../ipam/named-networks/pools.ts";
import type { NetworkStore } from "../../ipam/stores/contracts.ts";

/** The ranges of the overlay network. */
export function overlayRanges({ families }: NetworkConfig): readonly UsedRange[] {
  return entriesOf(families).map(([, { network }]) => ({ prefix: network, title: "the overlay network" }));
}

/** The VNI of the overlay network, where a named network could have the same. */
function overlayVnis({ backend }: NetworkConfig): ReadonlyMap<number, string> {
  const { VNI } = backend.options;
  return new Map(typeof VNI === "number" ? [[VNI, `flannel.${VNI} of the overlay network`]] : []);
}

export interface CatalogueEnvironment {
  readonly clock: Clock;
  readonly random: () => number;
  readonly dateMs: () => number;
}

/** The catalogue of a store as a command uses it, without a host of its own. Throws StoreError. */
export async function openCatalogue(
  store: NetworkStore,
  environment: CatalogueEnvironment,
  signal: AbortSignal,
): Promise<StoreCatalogue> {
  const config = await readConfig(store, signal);
  return new StoreCatalogue({
    ...environment,
    records: store.records,
    randomBytes,
    reserved: async () => (config === null ? [] : overlayRanges(config)),
    foreignVnis: () => (config === null ? new Map() : overlayVnis(config)),
  });
}

/** Null when there is none, or daemons reject it: then nothing limits the ranges. */
async function readConfig({ config }: NetworkStore, signal: AbortSignal): Promise<NetworkConfig | null> {
  const entry = await config.read(signal);
  if (entry === null) return null;
  try {
    return parseNetworkConfig(entry.text);
  } catch (error) {
    if (error instanceof TulleError) return null;
    throw error;
  }
}
