/** The contracts between the parts that serve named networks: catalogue, addresses and members. Types only. */

import type { Address, Family, PerFamily, Prefix } from "../addresses/ip.ts";
import type { HostId, HostMembers, HostRecord, Member, NamedNetwork, NetworkId } from "./named-network.ts";

/** What a user or an engine asks for; what is null or absent is chosen. */
export interface PoolRequest {
  readonly subnet: Prefix | null;
  readonly allocation: Prefix | null;
  readonly gateway: Address | null;
  readonly excluded: readonly Address[];
  /** The subnet is that of a LAN of the hosts, whose addresses another network driver uses: it may meet their links. */
  readonly isLan?: boolean;
}

export interface NetworkRequest {
  readonly name: string;
  readonly vni: number | null;
  /** The families that it shall have. */
  readonly pools: PerFamily<PoolRequest>;
  readonly isInternal: boolean;
  readonly hasBroadcast: boolean;
  readonly mtuBytes: number | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
}

/** A range that an engine reserved before it told for which network. It takes part in the check for overlaps. */
export interface PoolDraft {
  /** The network that it becomes part of. */
  readonly id: NetworkId;
  readonly family: Family;
  readonly subnet: Prefix;
}

/** All named networks of a store prefix. Every method rejects with StoreError, ConflictError or ConfigError. */
export interface NetworkCatalogue {
  /**
   * Creates a network. One that has the name already is returned if it has what the request names (`created` false);
   * ConflictError names the difference, the range that overlaps, or the VNI in use.
   */
  create(
    request: NetworkRequest,
    signal: AbortSignal,
  ): Promise<{ readonly network: NamedNetwork; readonly created: boolean }>;
  /** Reserves a range for a network that will get its name by `publish`; it lapses after some minutes without one. */
  draft(family: Family, request: PoolRequest, host: HostId, signal: AbortSignal): Promise<PoolDraft>;
  /** Makes one network of drafts. As `create` when the name exists: the drafts are given back then. */
  publish(
    drafts: readonly PoolDraft[],
    request: NetworkRequest,
    signal: AbortSignal,
  ): Promise<{ readonly network: NamedNetwork; readonly created: boolean }>;
  abandon(draft: PoolDraft, signal: AbortSignal): Promise<void>;
  list(signal: AbortSignal): Promise<readonly NamedNetwork[]>;
  /** Removes a network and the records of its addresses; absent is a success. ConflictError while it has members, with one of them as `details.usedBy`. */
  remove(id: NetworkId, signal: AbortSignal): Promise<void>;
}

/** The addresses of this host in named networks. Nothing waits for the store while the reserve lasts. */
export interface AddressBook {
  /**
   * Gives an address to an endpoint: `wanted`, or one of the reserve. The same endpoint gets the same address again.
   * ConfigError for an address outside the pool, ConflictError naming the holder, NoFreeAddressError.
   */
  take(
    network: NamedNetwork,
    family: Family,
    wanted: Address | null,
    endpoint: string | null,
    signal: AbortSignal,
  ): Promise<Address>;
  /** Back into the reserve of this host; absent is a success. */
  release(network: NetworkId, address: Address): void;
  /** What this host gave, for a comparison with the containers that there are. */
  given(network: NetworkId): readonly Address[];
  /** The endpoint that the address was given to; null where none was named, or it is not given. */
  endpointOf(network: NetworkId, address: Address): string | null;
  /** Fills the reserve before the first container of the network starts here. */
  prepare(network: NamedNetwork): void;
  /** Drops what is known of a network that was removed; nothing while addresses are given. */
  forget(network: NetworkId): Promise<void>;
}

/** What is known of named networks, whole and immutable; kept on disk, so that it outlives an outage and a restart. */
export interface NamedNetworksView {
  readonly networks: ReadonlyMap<NetworkId, NamedNetwork>;
  /** By network, then by host; those of hosts that are gone are not in it. This host's own are. */
  readonly members: ReadonlyMap<NetworkId, ReadonlyMap<HostId, HostMembers>>;
  readonly hosts: ReadonlyMap<HostId, HostRecord>;
}

/** Follows the store, and publishes what this host has. */
export interface NamedNetworksFeed {
  readonly view: NamedNetworksView;
  /** Null while the store is followed. */
  readonly storeProblem: string | null;
  /** Networks whose members of this host may not be in the store yet, or still be there. */
  readonly unpublished: readonly NetworkId[];
  /** Adds or replaces a member of this host: seen by all hosts a moment later, as soon as the store can be reached. */
  setMember(network: NetworkId, member: Member): void;
  removeMember(network: NetworkId, endpoint: string): void;
  /** Calls `listener` after each change of the view, until the returned function is called. */
  onChange(listener: (view: NamedNetworksView) => void): () => void;
}
