/**
 * What joins one container to a bridge, as values: the input of attach(), detach() and examine(). No I/O.
 *
 * It knows neither where addresses come from (ipam/containers) nor who asks: the CNI plugin, or a daemon that serves
 * Docker or netavark.
 */

import type { Address, Prefix } from "../../ipam/addresses/ip.ts";
import type { Mac } from "../../ipam/addresses/mac.ts";
import type { Allocation } from "../../ipam/containers/ranges.ts";
import type { NetnsHandle } from "../netlink/netns.ts";

export interface AttachmentSpec {
  /** Names what the network's attachments share: the tables of the firewall. */
  readonly network: string;
  /** Of the pair, and of a bridge that is created; 0 leaves the kernel's default. */
  readonly mtuBytes: number;
  readonly bridge: BridgeSpec;
  readonly port: PortSpec;
  readonly container: ContainerSpec;
  readonly rules: RuleSpec;
}

export interface BridgeSpec {
  /** At most 15 bytes. */
  readonly name: string;
  readonly isPromiscuous: boolean;
  /** Puts the gateways' addresses on the bridge, which is ours then; null leaves the bridge to its administrator. */
  readonly gateway: GatewaySpec | null;
}

export interface GatewaySpec {
  /** Replaces the address of another subnet although containers use it. */
  readonly force: boolean;
  /** The network's ranges: an address of them that the bridge has from a former subnet of this host is replaced. */
  readonly network: readonly Prefix[];
}

/** The host's end of the pair, a port of the bridge. */
export interface PortSpec {
  /** See portName(). */
  readonly name: string;
  /** Frames may leave by the port they came in by. */
  readonly isHairpin: boolean;
  /** Isolated ports cannot talk to each other. */
  readonly isIsolated: boolean;
  readonly vlans: VlanSpec;
}

export interface VlanSpec {
  /** The VLAN of untagged frames; 0 means none. */
  readonly untagged: number;
  /** VLANs that reach the container with their tags. */
  readonly tagged: readonly number[];
  /** The port stays in VLAN 1 too. */
  readonly keepsDefault: boolean;
}

/** The container's end of the pair. */
export interface ContainerSpec {
  readonly netns: NetnsHandle;
  /** Without `%`, which the kernel would replace. */
  readonly name: string;
  /** null means a random one. */
  readonly mac: Mac | null;
  readonly addresses: readonly Allocation[];
  readonly routes: readonly ContainerRoute[];
}

export interface ContainerRoute {
  readonly destination: Prefix;
  /** null means the gateway of the destination's family, or none if `scope` is narrower than universe. */
  readonly gateway: Address | null;
  readonly scope?: number;
  readonly table?: number;
  readonly metric?: number;
  readonly mtuBytes?: number;
  readonly advertisedMss?: number;
}

/** null leaves the choice to what the host has. */
export type MasqueradeEngine = "nftables" | "iptables" | null;

/** What the container sends to the outside carries the host's address. */
export interface MasqueradeSpec {
  readonly engine: MasqueradeEngine;
  /** Where packets keep their source besides the container's own subnet; detach() does not look at it. */
  readonly inside: readonly Prefix[];
}

export interface RuleSpec {
  readonly masquerade: MasqueradeSpec | null;
  /** Frames with another source hardware address than the container's are dropped. */
  readonly guardsSource: boolean;
}

/** True when ports join VLANs. */
export function usesVlans({ untagged, tagged }: VlanSpec): boolean {
  return untagged !== 0 || tagged.length > 0;
}

export function usesRules({ masquerade, guardsSource }: RuleSpec): boolean {
  return masquerade !== null || guardsSource;
}

/** The device that carries the gateway's addresses: the bridge, or for a VLAN an interface of the bridge in it. */
export function gatewayDeviceName(bridge: string, { untagged }: VlanSpec): string {
  return untagged === 0 ? bridge : `${bridge}.${untagged}`;
}
