/**
 * What a lease is, and what the agent knows of all of them at one moment.
 *
 * A lease says: these subnets belong to the host with this public address, and this is how to reach it.
 * Types only; the text forms are in lease-codec.ts, the folding of store messages in peer-table.ts.
 */

import type { Address, PerFamily, Prefix } from "../addresses/ip.ts";
import type { JsonValue } from "../json.ts";

/** `10.2.54.0-24`, `10.2.54.0-24&fd00:2:54::-64` or `0.0.0.0-0&fd00:2:54::-64`: the part of the store key behind `subnets/`. */
export type LeaseKey = string;

/** A backend by which a host can be reached. */
export interface BackendOffer {
  /** `vxlan`, `host-gw`, …; empty as flanneld's udp and alloc backends write it. */
  readonly backendType: string;
  /** The backend's own data, opaque here; only the backend of that type reads it. */
  readonly backendData: PerFamily<JsonValue>;
}

/** What a host publishes about itself. */
export interface LeaseAttrs extends BackendOffer {
  /** Where tunnel packets for this host go. */
  readonly publicAddress: PerFamily<Address>;
  /** Others by which it can be reached while its network changes its backend; absent for none. flannel ignores them. */
  readonly otherBackends?: readonly BackendOffer[];
  /** Identity of the host's tulled (a key that flannel ignores); null for hosts that run flanneld. */
  readonly nodeId: string | null;
}

/** One lease as the store holds it. */
export interface Lease {
  readonly key: LeaseKey;
  readonly subnets: PerFamily<Prefix>;
  readonly attrs: LeaseAttrs;
  /** Store revision of the last change. */
  readonly revision: bigint;
  /** Store revision of the creation: of two overlapping leases the lower one stays. */
  readonly createRevision: bigint;
  /** The store's own lease or session that will expire the key; null for a reservation. */
  readonly storeLeaseId: string | null;
  /** True when its owner has marked it as given up: the key is about to be deleted, and not put back. */
  readonly isLeaving: boolean;
}

/** Why a peer's lease is not programmed. */
export interface RejectedLease {
  readonly key: LeaseKey;
  /** One sentence with the key, the value and what to do. */
  readonly reason: string;
}

/** The leases of other hosts at one moment, for the status. Immutable; the planner gets updates (peer-update.ts). */
export interface LeaseSnapshot {
  /** Valid leases of other hosts, by key. */
  readonly peers: ReadonlyMap<LeaseKey, Lease>;
  /** Entries that are not programmed, with the reason. */
  readonly rejected: ReadonlyMap<LeaseKey, RejectedLease>;
  /** Peers that vanished in a mass disappearance or after an outage of the store and are kept; also in `peers`. */
  readonly held: ReadonlySet<LeaseKey>;
}
