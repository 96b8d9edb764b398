/**
 * How this host gets a lease and keeps it: the contract, for stores in which hosts allocate their subnets
 * (allocating-claimer.ts) and for stores that assign them, as Kubernetes assigns a node's podCIDR.
 *
 * A claimer makes single requests. own-lease.ts decides when to make them, and keeps the state.
 */

import type { PerFamily, Prefix } from "../addresses/ip.ts";
import type { LocalPrefix } from "../addresses/local-prefixes.ts";
import type { NetworkConfig } from "../config/network-config.ts";
import type { StoreEntry, StoreListing } from "../stores/contracts.ts";
import type { LeaseAttrs, LeaseKey } from "./lease.ts";

/** What a host wants a lease for. */
export interface ClaimRequest {
  readonly config: NetworkConfig;
  readonly attrs: LeaseAttrs;
  /** The subnets of the last run, null when unknown or of another network. */
  readonly previous: PerFamily<Prefix> | null;
  /** What this host reaches without the network: a subnet that overlaps it would cut it off. */
  readonly local: readonly LocalPrefix[];
  /**
   * True for a host that must leave its key to another: no lease is taken over, and none kept but one with both the node id
   * and the public address of this host, which an attempt before this one created.
   */
  readonly isRenumbering?: boolean;
}

/** Our lease, in the store. */
export interface Membership {
  readonly entry: StoreEntry;
  readonly subnets: PerFamily<Prefix>;
  /** When the store lets it expire unless it is renewed: monotonic milliseconds, Infinity for a reservation. */
  readonly deadlineMs: number;
  /** How we got it, for the log. */
  readonly origin: "kept" | "adopted" | "previous subnet" | "new subnet" | "assigned";
  /** Leases of ours that were deleted for it. */
  readonly givenUp: readonly LeaseKey[];
}

/** The lease as we last had it. */
export interface LostLease {
  readonly entry: StoreEntry;
  readonly subnets: PerFamily<Prefix>;
  /** Where leases may lie: the ranges of the network, and those before a change of it. */
  readonly networks: readonly Prefix[];
  /** No lease overlaps it that was created up to this revision. */
  readonly provenRevision: bigint;
  /** True when the store said that the key does not exist: create it instead of replacing it. */
  readonly isGone: boolean;
  readonly value: string;
}

export type Recovery =
  /** Ours until `deadlineMs` (monotonic; Infinity for a reservation). */
  | {
      readonly outcome: "held";
      readonly entry: StoreEntry;
      readonly subnets: PerFamily<Prefix>;
      readonly deadlineMs: number;
    }
  /** The key exists; its value may be ours, from an attempt whose answer was lost. */
  | { readonly outcome: "taken"; readonly holder: StoreEntry }
  /** An older lease overlaps it; the key was deleted again. */
  | { readonly outcome: "overlapped"; readonly rival: StoreEntry }
  /** It disappeared between two reads, or the store assigns no subnet now: retry. */
  | { readonly outcome: "vanished" };

/**
 * All methods throw StoreError when the store does not answer. A subnet that the store assigned is in the lease feed only
 * once its host has published it.
 */
export interface LeaseClaimer {
  /**
   * Gets this host's lease, as of `listing`. Throws NoFreeSubnetError (with `retryable`), and ConfigError when the
   * network's configuration does not let this host join.
   */
  acquire(request: ClaimRequest, listing: StoreListing, signal: AbortSignal): Promise<Membership>;

  /** Throws what acquire would throw for want of a subnet, and writes nothing. */
  examine(request: ClaimRequest, listing: StoreListing, signal: AbortSignal): Promise<void>;

  /** Writes another value into the lease, which expires as before. LeaseLostError when it changed since `entry`. */
  publish(entry: StoreEntry, value: string, signal: AbortSignal): Promise<StoreEntry>;

  /** Renews the lease; seconds until it expires, Infinity when it does not. LeaseLostError when it is gone. */
  keep(entry: StoreEntry, signal: AbortSignal): Promise<number>;

  /** Makes one attempt to get a lost lease back. */
  recover(lost: LostLease, signal: AbortSignal): Promise<Recovery>;

  /** Deletes the lease for good: peers remove its host at once. LeaseLostError when it changed since `entry`. */
  release(entry: StoreEntry, signal: AbortSignal): Promise<void>;
}
