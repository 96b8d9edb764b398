/**
 * Named networks: isolated layer 2 segments of their own beside the network of the leases, stretched over all hosts.
 * Types only.
 *
 * Five things are recorded in the store, below `<prefix>/tulle/`:
 *
 *     named/catalogue                 all networks, one record: names and VNIs are unique and ranges disjoint by one
 *                                     compare-and-swap
 *     named/addresses/<id>/<address>  which host holds an address, given or in reserve
 *     named/members/<id>/<host>       the containers of one host in one network, written by that host alone
 *     named/hosts/<host>              where a host's tunnel ends; leased, so that it disappears with the host
 *     named/wanted/<holder>/<host>/…  a request to hand an unused address over; leased
 */

import type { Address, PerFamily, Prefix } from "../addresses/ip.ts";
import type { Mac } from "../addresses/mac.ts";

/** 32 hexadecimal digits, random. */
export type NetworkId = string & { readonly networkIdBrand: true };

/** The node id of a host: 32 hexadecimal digits. */
export type HostId = string & { readonly hostIdBrand: true };

/** The addresses of one family that a network has. */
export interface Pool {
  readonly subnet: Prefix;
  /** Where addresses are given of their own accord; the whole subnet by default. Any host may ask for one by name. */
  readonly allocation: Prefix;
  /** Never given to a container, and configured nowhere by default. */
  readonly gateway: Address;
  /** Never given. */
  readonly excluded: readonly Address[];
  /**
   * The id of the draft that it was, where the network has another: that of the draft of its other family. dockerd keeps it
   * in the PoolID.
   */
  readonly draft?: NetworkId;
}

export interface NamedNetwork {
  readonly id: NetworkId;
  /** As in Docker: a letter or digit first, then also `_`, `.` and `-`; at most 128 characters. */
  readonly name: string;
  /** 4096 to 16777215. */
  readonly vni: number;
  /** At least one family. */
  readonly pools: PerFamily<Pool>;
  /** Its containers have no way outside. */
  readonly isInternal: boolean;
  /** Broadcast and multicast frames go to every host with members. */
  readonly hasBroadcast: boolean;
  /** Of containers; null for what the underlay carries. */
  readonly mtuBytes: number | null;
  readonly labels: Readonly<Record<string, string>>;
  /** Other options of the engine that made it, as given. */
  readonly options: Readonly<Record<string, string>>;
  /** Seconds since 1970, for people. */
  readonly createdSeconds: number;
}

/** A container's interface in a network. */
export interface Member {
  /** Of the engine, unique on the host. */
  readonly endpoint: string;
  /** The container's full id; null while the engine has not told. */
  readonly container: string | null;
  readonly engine: "docker" | "netavark" | "cni";
  /** The container's name first, then aliases and its short id; in lower case, without dots at the ends. */
  readonly names: readonly string[];
  readonly mac: Mac;
  readonly addresses: PerFamily<Address>;
}

/** The containers of one host in one network. */
export interface HostMembers {
  readonly host: HostId;
  readonly network: NetworkId;
  readonly members: readonly Member[];
}

/** Where a host is. */
export interface HostRecord {
  readonly host: HostId;
  /** The host name, for people. */
  readonly name: string;
  /** The addresses that tunnel packets to it are sent to. */
  readonly publicAddresses: PerFamily<Address>;
  /** What the host reaches on its own links, without the overlay: no network may have these ranges. */
  readonly localPrefixes: readonly Prefix[];
  readonly version: string;
}
