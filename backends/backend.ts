/**
 * What a backend is: a way to carry packets to other hosts, expressed as kernel objects to have.
 *
 * A backend does no I/O. It is parsed from the network configuration, prepared once per set of host facts, and
 * then answers pure questions. One file per backend and one line in registry.ts.
 */

import type { Address, Family, PerFamily, Prefix } from "../ipam/addresses/ip.ts";
import type { Mac } from "../ipam/addresses/mac.ts";
import type { JsonObject, JsonValue } from "../ipam/json.ts";
import type { Lease } from "../ipam/leases/lease.ts";
import type { LinkObject } from "./state/kinds/link.ts";
import type { KernelObject } from "./state/kinds/registry.ts";

/** What a backend must know of the host it runs on. */
export interface HostFacts {
  /** Name of the interface that carries the tunnel. */
  readonly interface: string;
  /** Its MTU in bytes. */
  readonly mtuBytes: number;
  /** Its addresses, the source of tunnel packets. */
  readonly addresses: PerFamily<Address>;
  /** What we publish for peers to send to; differs from `addresses` behind NAT. */
  readonly publicAddresses: PerFamily<Address>;
  /** Prefixes that are reachable on the interface without a gateway. */
  readonly onLinkPrefixes: readonly Prefix[];
  /** False where the kernel runs without IPv6: there are no IPv6 settings then. */
  readonly hasIpv6: boolean;
}

/** Answers from the host's identity, persisted before any device exists. */
export interface DeviceIdentity {
  /** The hardware address for a device of ours: the persisted one, or a deterministic one. */
  macFor(device: string): Mac;
}

/** How packets to a peer travel, for status. */
export type PeerPath = "tunnel" | "direct";

/** A backend, ready to plan: all of it is pure. */
export interface PreparedBackend {
  readonly type: string;
  /** The devices it owns. */
  readonly devices: PerFamily<string>;
  /** Interfaces by which packets of other hosts' containers come and go. */
  readonly entrances: PerFamily<readonly string[]>;
  /** Largest packet of a container, in bytes: what subnet.env says. */
  readonly mtuBytes: number;
  /** UDP port of the tunnel, null for backends without one. */
  readonly tunnelPort: number | null;
  /** What goes into our lease. */
  readonly leaseData: PerFamily<JsonValue>;
  /** Why no host can program a peer's lease, in one sentence; null when hosts can. The same on every host. */
  rejectPeer(lease: Lease): string | null;
  /** Sameness key of a peer beyond subnets and addresses (for example its tunnel MAC), null for none. */
  peerIdentities(lease: Pick<Lease, "attrs">): readonly string[];
  /** What this host needs regardless of peers. `own` are our subnets. */
  planBase(own: PerFamily<Prefix>): readonly KernelObject[];
  /** What one peer needs. Only called with leases that rejectPeer accepts. */
  planPeer(lease: Lease, useNexthops: boolean): readonly KernelObject[];
  pathTo(lease: Lease): PeerPath;
}

export interface Backend {
  readonly type: string;
  /** Validates `Backend` of the network configuration. Throws ConfigError that names the key and the value. */
  parseOptions(options: JsonObject): BackendOptions;
}

/** Options, validated. */
export interface BackendOptions {
  /** Names of the devices for the families in use, known before anything is read from the host. */
  deviceNames(families: readonly Family[]): PerFamily<string>;
  /** Whether an existing device can be kept with its hardware address. */
  canAdopt(link: LinkObject): boolean;
  prepare(host: HostFacts, families: readonly Family[], identity: DeviceIdentity): PreparedBackend;
  /** Names the options that differ and cannot be changed under traffic; empty when `other` may be applied live. */
  unsafeDifferences(other: BackendOptions): readonly string[];
}
