/** What an administrator decides about one network of a daemon, and the names that it owns. Pure. */

import type { AgentConfig, FirewallSettings, InterfaceSettings, LeaseSettings } from "../config/config.ts";

export interface NetworkSettings {
  /** Unique in the daemon; null for the first network, whose names are flannel's. */
  readonly name: string | null;
  /** Where the store keeps it. */
  readonly prefix: string;
  readonly subnetFile: string;
  readonly stateDir: string;
  /** Where the administrator keeps the private key of the WireGuard backend; null: in the state directory. */
  readonly wireguardKeyFile: string | null;
  readonly interface: InterfaceSettings;
  readonly lease: LeaseSettings;
  /** At the start; a reload may change them. */
  readonly firewall: FirewallSettings;
  /** Packets per second for all peers together; 0 switches probes off. */
  readonly probesPerSecond: number;
  /** The second way to peers. Its device exists once on a host, so only the first network has one. */
  readonly fallback: "none" | "udp";
}

/** The network that the daemon's flags describe. */
export function firstNetwork(config: AgentConfig): NetworkSettings {
  return {
    name: null,
    prefix: config.store.prefix,
    subnetFile: config.files.subnetFile,
    stateDir: config.files.stateDir,
    wireguardKeyFile: config.files.wireguardKeyFile,
    interface: config.interface,
    lease: config.lease,
    firewall: config.firewall,
    probesPerSecond: config.probesPerSecond,
    fallback: config.fallback,
  };
}

/** `base` for the first network, `base-name` for the others: for files, locks and records. */
export function ownedName(base: string, network: string | null): string {
  return network === null ? base : `${base}-${network}`;
}
