/** What of a network configuration this version can run: its families, and its backend with its options. Pure. */

import type { BackendOptions } from "../../backends/backend.ts";
import { backendFor } from "../../backends/registry.ts";
import { type Address, entriesOf, type Family, type PerFamily } from "../../ipam/addresses/ip.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { mayLease } from "../../ipam/leases/candidates.ts";

/** The families in use; the parser sees to it that there is one. */
export function familiesOf(config: NetworkConfig): Family[] {
  return entriesOf(config.families).map(([family]) => family);
}

/** Validates the backend's options. Throws ConfigError and UnsupportedError. */
export function optionsOf(config: NetworkConfig): BackendOptions {
  return backendFor(config).parseOptions(config.backend.options);
}

/** Throws what a daemon of this version would end with. */
export function requireSupport(config: NetworkConfig): void {
  optionsOf(config);
}

/** One sentence when the network gives out subnets where this host's own addresses are; null when it does not. */
export function ownAddressProblem(config: NetworkConfig, own: PerFamily<Address>): string | null {
  for (const [family, range] of entriesOf(config.families)) {
    const address = own[family];
    if (address === undefined || !mayLease(range, address)) continue;
    return (
      `the network ${range.network} gives out the subnet of this host's own address ${address}, and a host that ` +
      "leases it is cut off: choose another Network, or SubnetMin and SubnetMax beside it"
    );
  }
  return null;
}
