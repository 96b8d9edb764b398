/**
 * What a new network configuration in the store means for a running daemon. Pure.
 *
 * Options that change no peer's lease and no address are applied under traffic; a move of the network is not.
 */

import type { BackendOptions } from "../backends/backend.ts";
import { entriesOf, type PerFamily, type Prefix } from "../ipam/ip.ts";
import type { NetworkConfig } from "../ipam/network-config.ts";
import { optionsOf } from "./network-support.ts";

/** The two configurations and what of ours depends on them. */
export interface ConfigChange {
  readonly inForce: NetworkConfig;
  readonly options: BackendOptions;
  readonly next: NetworkConfig;
  readonly own: PerFamily<Prefix>;
}

/** Names of the settings that keep `next` from being applied now; empty when it may be. Throws as optionsOf does. */
export function unsafeChanges({ inForce, options, next, own }: ConfigChange): readonly string[] {
  const names: string[] = [];
  for (const family of [4, 6] as const) {
    const [before, after] = [inForce.families[family], next.families[family]];
    const suffix = family === 6 ? "IPv6" : "";
    if (before?.network.toString() !== after?.network.toString()) names.push(`${suffix}Network`);
    else if (before?.subnetLength !== after?.subnetLength) names.push(`${suffix}SubnetLen`);
  }
  for (const [family, subnet] of entriesOf(own)) {
    const range = next.families[family];
    if (range === undefined || names.length > 0) continue;
    const { base } = subnet;
    if (base.value < range.subnetMin.value) names.push(family === 6 ? "IPv6SubnetMin" : "SubnetMin");
    if (base.value > range.subnetMax.value) names.push(family === 6 ? "IPv6SubnetMax" : "SubnetMax");
  }
  if (next.backend.type !== inForce.backend.type) return [...names, "Backend.Type"];
  const differences = options.unsafeDifferences(optionsOf(next));
  return [...names, ...differences.map((name) => `Backend.${name}`)];
}
