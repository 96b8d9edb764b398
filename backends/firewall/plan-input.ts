/** What a firewall plan is made from: one network's configuration, this host's lease in it, and its tunnels. */

import type { Address, Family, PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { GuardedPort } from "./rules.ts";

export interface FirewallInput {
  /** The cluster's range. */
  readonly networks: PerFamily<Prefix>;
  /** Ranges in which other hosts have subnets while the network moves from one to another; both families mixed. */
  readonly otherRanges?: readonly Prefix[];
  /** The network configuration enables nftables. */
  readonly prefersNft: boolean;
  /** This host's own subnet. */
  readonly subnets: PerFamily<Prefix>;
  /** Where only containers are: the network, but no more than our own subnet where hosts live in the network. */
  readonly containers: PerFamily<Prefix>;
  /** Ranges of this host's other networks; packets between their containers and ours are dropped. */
  readonly isolated?: readonly Prefix[];
  /** This host's other networks. */
  readonly beside?: readonly NetworkBeside[];
  readonly masquerade: MasqueradeInput;
  /** Accept what is forwarded from and to the network. */
  readonly forwardRules: boolean;
  /** Interfaces by which packets of other hosts' containers come and go. */
  readonly entrances: PerFamily<readonly string[]>;
  /** By underlay family; empty for backends without a UDP tunnel. */
  readonly tunnels: PerFamily<TunnelInput>;
  /** More tunnels of the same ends, while the network changes its backend. Who sends by them is not judged here. */
  readonly sideTunnels?: PerFamily<readonly TunnelInput[]>;
  /** Accept tunnel packets in INPUT. */
  readonly openPort: boolean;
  /** What containers ask for names on port 53, whatever else is dropped in INPUT. */
  readonly nameServer?: Address;
  /** Keep tunnel packets out of connection tracking. */
  readonly notrack: boolean;
  /** Lower the MSS of TCP connections that leave by the overlay device to its MTU. */
  readonly mssClamp: boolean;
  /**
   * Interfaces behind which containers sit; a trailing `*` stands for any ending. Tunnel packets from there are
   * forged, whatever source address they carry.
   */
  readonly containerInterfaces: readonly string[];
  /** Bridges of which containers may send with sources in this host's subnets only; none by default. */
  readonly strictBridges?: readonly string[];
  /** Bridges that only switch frames: this host routes nothing from or to them, and has no part in them itself. */
  readonly segments?: SegmentRules;
}

/** What has neither a range nor a tunnel: rules for more are added to it. */
export const NO_NETWORK: FirewallInput = {
  networks: {},
  prefersNft: false,
  subnets: {},
  containers: {},
  masquerade: { isEnabled: false, randomFully: false, excluded: [] },
  forwardRules: false,
  entrances: {},
  tunnels: {},
  openPort: false,
  notrack: false,
  mssClamp: false,
  containerInterfaces: [],
};

export interface MasqueradeInput {
  readonly isEnabled: boolean;
  /** Choose source ports at random, which spreads colliding connections (NF_NAT_RANGE_PROTO_RANDOM_FULLY). */
  readonly randomFully: boolean;
  /** Destinations outside the network that must see the containers' own addresses; both families mixed. */
  readonly excluded: readonly Prefix[];
}

/** The tunnel of one underlay family. */
export type TunnelInput = TunnelPackets & TunnelEnds;

/** Which packets are the tunnel's: those to a UDP port, 1 .. 65535, or those of an IP protocol. */
type TunnelPackets = { readonly port: number } | { readonly protocol: "ipip" };

interface TunnelEnds {
  /** The interface that carries the tunnel. */
  readonly parentInterface: string;
  /** This host's address there. */
  readonly address: Address;
  /** Other addresses of this family to which peers send. */
  readonly aliases: readonly Address[];
  /** The overlay device, for the MSS clamp: `flannel.1`. */
  readonly device: string;
  /** Which sources of tunnel packets are accepted: any, or the peers' public addresses. */
  readonly sources: "any" | readonly Address[];
  /** The kernel itself drops forged tunnel packets, so that the rules only let them in and clamp the MSS. */
  readonly isAuthenticated?: boolean;
  /** `sources` holds for packets with the VNI of a named network only; others on the port are another network's. */
  readonly isOfNamedNetworks?: true;
}

export interface SegmentRules {
  /** What the names of all of them begin with. */
  readonly prefix: string;
  readonly bridges: readonly string[];
  readonly families: readonly Family[];
  readonly ports: readonly GuardedPort[];
  /** The bridge by which containers on such networks reach the outside; absent or null where none does. */
  readonly outside?: OutsideBridge | null;
}

/** Its containers reach neither each other by it, nor does another host reach them but by a published port. */
export interface OutsideBridge {
  readonly name: string;
  readonly subnets: PerFamily<Prefix>;
}

/** What one network's rules must know of another one of this host. */
export type NetworkBeside = Pick<FirewallInput, "tunnels" | "containers">;

/** Where Docker, CNI's plugins and podman put containers unless told otherwise. */
export const DEFAULT_CONTAINER_INTERFACES: readonly string[] = [
  "docker0",
  "docker_gwbridge",
  "br-*",
  "cni*",
  "podman*",
  // Where CNI's plugin ptp and Calico put them, without a bridge.
  "veth*",
  "cali*",
];
