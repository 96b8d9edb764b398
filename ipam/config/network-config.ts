/** The cluster-wide network configuration, in flannel's JSON format: parsed and validated once, then trusted. */

import type { Address, PerFamily, Prefix } from "../addresses/ip.ts";
import type { JsonObject } from "../json.ts";

/** The address plan of one family. */
export interface FamilyNetwork {
  /** The cluster's whole range. */
  readonly network: Prefix;
  /** Prefix length of each host's subnet. */
  readonly subnetLength: number;
  /** Base of the first subnet that may be leased. */
  readonly subnetMin: Address;
  /** Base of the last subnet that may be leased. */
  readonly subnetMax: Address;
}

/** The shortest prefix of a subnet, as flannel requires: the first subnet is not leased, and a network of one host is none. */
export function shortestSubnet(network: Prefix): number {
  return network.length + 2;
}

/**
 * True when a host of the network, whatever its SubnetLen is or was, can have leased the subnet. Half of the network is
 * possible: the network may have been larger then.
 */
export function mayBeLeased(subnet: Prefix, network: Prefix): boolean {
  return subnet.length > network.length && network.contains(subnet);
}

export interface NetworkConfig {
  readonly families: PerFamily<FamilyNetwork>;
  readonly enableNftables: boolean;
  readonly backend: {
    /** Lower case. `vxlan` when the text has no Backend. */
    readonly type: string;
    /** False when the text has no Backend: see the rule about hosts that run flanneld's udp. */
    readonly isExplicit: boolean;
    /** Everything in Backend but Type, as written; the backend of that type validates it. */
    readonly options: JsonObject;
  };
  /** The text it was parsed from. */
  readonly text: string;
}
