/** What of a network configuration this version can run: its families, and its backend with its options. Pure. */

import type { BackendOptions } from "../../backends/backend.ts";
import { MixedBackend } from "../../backends/mixed.ts";
import { backendFor } from "../../backends/registry.ts";
import { Address, entriesOf, type Family, mapFamilies, type PerFamily } from "../../ipam/addresses/ip.ts";
import { parseMac } from "../../ipam/addresses/mac.ts";
import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { mayLease } from "../../ipam/leases/candidates.ts";
import type { Lease } from "../../ipam/leases/lease.ts";

/** The families in use; the parser sees to it that there is one. */
export function familiesOf(config: NetworkConfig): Family[] {
  return entriesOf(config.families).map(([family]) => family);
}

/** Validates the backend's options. Throws ConfigError and UnsupportedError. */
export function optionsOf(config: NetworkConfig): BackendOptions {
  return backendFor(config).parseOptions(config.backend.options);
}

/** Throws what a daemon of this version would end with on every host. */
export function requireSupport(config: NetworkConfig): void {
  prepareForAnyHost(config);
}

/** Addresses for documentation (RFC 5737, RFC 3849). */
const SOME_ADDRESS: Readonly<Record<Family, Address>> = {
  4: Address.parse("192.0.2.1"),
  6: Address.parse("2001:db8::1"),
};

/**
 * The backend of a host that lacks nothing: it judges options and leases without regard to the host that it runs on.
 * Throws ConfigError and UnsupportedError.
 */
export function prepareForAnyHost(config: NetworkConfig): MixedBackend {
  const uplinks = mapFamilies(config.families, (_, family) => ({
    interface: "",
    mtuBytes: 65_535,
    address: SOME_ADDRESS[family],
    publicAddress: SOME_ADDRESS[family],
    onLinkPrefixes: [],
  }));
  const networks = mapFamilies(config.families, ({ network }) => network);
  const identity = { macFor: () => parseMac("00:00:00:00:00:00") };
  const host = { uplinks, networks, hasIpv6: true };
  return new MixedBackend(optionsOf(config).prepare(host, familiesOf(config), identity));
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

/**
 * Why the backend cannot use a lease, by `reason`. Without Backend in the configuration, hosts with flanneld run udp and
 * those with tulled vxlan: then that is the reason.
 */
export function explainRejection(
  { backend }: NetworkConfig,
  lease: Lease,
  reason: string | null,
): string | null {
  const isReservation = lease.storeLeaseId === null;
  if (reason === null || backend.isExplicit || isReservation || lease.attrs.backendType !== "") return reason;
  return (
    `it names no backend, as flanneld's udp writes it, for which flanneld takes a network configuration without Backend, where tulled takes it for ${backend.type}; ` +
    `write Backend {"Type":"udp"} or Backend {"Type":"${backend.type}"} into it, and restart the hosts that have the other one`
  );
}
