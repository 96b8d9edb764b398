/**
 * The contract of a backend: a way to carry packets to other hosts, expressed as kernel objects.
 *
 *   Backend          answers without a configuration: what may belong to it, what it needs of the kernel
 *   BackendOptions   answers for one network configuration, before anything is read from the host
 *   PreparedBackend  answers for one configuration on one host: objects, lease data, MTU, rejected peers
 *
 * All answers are pure; what a backend reads or makes on this host is its provision, and what it runs beside the kernel's
 * objects its runner. One file per backend and one line in registry.ts.
 */

import type { Address, Family, PerFamily, Prefix } from "../ipam/addresses/ip.ts";
import type { Mac } from "../ipam/addresses/mac.ts";
import type { Clock } from "../ipam/clock.ts";
import type { Faults } from "../ipam/faults.ts";
import type { JsonObject, JsonValue } from "../ipam/json.ts";
import type { Lease, LeaseKey } from "../ipam/leases/lease.ts";
import type { Logger } from "../ipam/log.ts";
import type { KeptDescriptors } from "./kept-descriptors.ts";
import type { LinkObject } from "./state/kinds/link.ts";
import type { KernelObject } from "./state/kinds/registry.ts";

/** The interface by which packets of one family leave for other hosts. */
export interface Uplink {
  readonly interface: string;
  readonly mtuBytes: number;
  /** The source of tunnel packets. */
  readonly address: Address;
  /** What we publish for peers to send to; differs from `address` behind NAT. */
  readonly publicAddress: Address;
  /** Prefixes that are reachable on the interface without a router. */
  readonly onLinkPrefixes: readonly Prefix[];
  /** What the host's routes reach in another way all the same: by a router, or on another interface. */
  readonly routedPrefixes?: readonly Prefix[];
}

/** What a backend must know of the host it runs on. */
export interface HostFacts {
  /** For each family of the network; both are often on one interface. */
  readonly uplinks: PerFamily<Uplink>;
  /** Where the subnets of all hosts lie. */
  readonly networks: PerFamily<Prefix>;
  /** False where the kernel runs without IPv6; /proc/sys/net/ipv6 is absent then. */
  readonly hasIpv6: boolean;
}

/** Answers from the host's identity, persisted before any device exists. */
export interface DeviceIdentity {
  /** The hardware address for a device of ours: the persisted one, or a deterministic one. */
  macFor(device: string): Mac;
}

/** What a backend may use to provide what it needs on this host. */
export interface ProvisionContext {
  /** The daemon's state directory, which exists. */
  readonly stateDir: string;
  /** Null for the first network. */
  readonly network: string | null;
  /** Where the administrator keeps the private key (WIREGUARD_KEY_FILE); null when not given. */
  readonly keyFile: string | null;
  readonly logger: Logger;
  /**
   * Makes a value once per daemon and network, so that it outlives a change of the interface. A rejection is not kept.
   */
  once<T>(key: string, make: () => Promise<T>): Promise<T>;
}

/** What a runner is to carry out. */
export interface RunnerTarget {
  /** This host's subnets. */
  readonly own: PerFamily<Prefix>;
  /** All peers that hosts can program. */
  readonly peers: ReadonlyMap<LeaseKey, Lease>;
}

/** What a runner works with. */
export interface RunnerDeps {
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  readonly logger: Logger;
  readonly faults: Faults;
  readonly stateDir: string;
  readonly descriptors: KeptDescriptors;
  /** To be called when `problems` has changed. */
  readonly onChange: () => void;
}

/** What a runner that carries packets has counted since it started: packets inside the tunnel. */
export interface PathTraffic {
  readonly sent: { readonly packets: number; readonly bytes: number };
  readonly received: { readonly packets: number; readonly bytes: number };
  /** Packets, by reason; each reason is always present. */
  readonly dropped: Readonly<Record<string, number>>;
  /** ICMP errors sent to containers of this host, by type. */
  readonly icmpErrors: Readonly<Record<string, number>>;
}

/** What a backend runs beside the kernel's objects: a tunnel in user space, an administrator's commands. */
export interface BackendRunner {
  /** Carries out `target` from now on, in place of the one before. Returns at once and never throws. */
  follow(target: RunnerTarget): void;
  /** What is wrong at the moment, one sentence each. */
  readonly problems: readonly string[];
  /** Absent for a runner that carries no packets. */
  readonly traffic?: PathTraffic;
  /**
   * Asks a peer's runner for an answer by a packet of `packetBytes` inside, past routes and devices. `onAnswer` is called
   * once, or never. Absent for a runner that carries no packets.
   */
  probe?(peer: LeaseKey, family: Family, packetBytes: number, onAnswer: () => void): void;
  /** Ends what runs; the kernel's objects stay. */
  stop(): Promise<void>;
}

/** How packets to a peer travel, for status and doctor. */
export type PeerPath =
  | "tunnel"
  /** By a route on the interface itself. */
  | "direct"
  /** By other means than this backend's. */
  | "external"
  /** By the fall-back, because the tunnel fails. */
  | "fallback";

/** What the kernel knows of the session with a peer. */
export interface PeerDetails {
  /** Since the last handshake; null before the first. */
  readonly handshakeAgeSeconds: number | null;
  readonly receivedBytes: number;
  readonly sentBytes: number;
}

/** The sessions on a device, by what identifies a peer; empty when there is no such device. */
export type SessionReader = (device: string) => ReadonlyMap<string, PeerDetails>;

/** Where tunnel packets of other hosts arrive. */
export type Tunnel = {
  /** Device that delivers the packets inside. */
  readonly device: string;
  /** The kernel accepts packets of peers only, by their keys: the firewall need not. */
  readonly isAuthenticated?: true;
  /** The daemon itself takes packets of peers only, by their addresses. */
  readonly isChecked?: true;
} & TunnelPackets;

/** How tunnel packets of other hosts are recognized: by their local UDP port, or by their IP protocol. */
export type TunnelPackets = { readonly port: number } | { readonly protocol: "ipip" };

/** What this host recorded in its state directory before it created anything. */
export interface OwnershipRecord {
  /** Names of the devices that a network of this host ever had. */
  readonly devices: ReadonlySet<string>;
  /** Their hardware addresses, as far as they have one. */
  readonly macs: ReadonlySet<Mac>;
}

/** What the kernel must have, for doctor. */
export interface KernelNeed {
  /** One word: `vxlan`. */
  readonly subject: string;
  /** In the plural: "VXLAN devices". */
  readonly feature: string;
  /** An rtnetlink request that changes nothing. A kernel without the feature answers EOPNOTSUPP. */
  readonly probe: () => Uint8Array;
  /** The module or package to load or install. */
  readonly remedy: string;
}

/** A file that the backend needs, for doctor. */
export interface FileNeed {
  /** One word: `tun`. */
  readonly subject: string;
  /** In the plural: "TUN devices". */
  readonly feature: string;
  readonly file: string;
  /** What to load or to install. */
  readonly remedy: string;
}

/** What doctor compares with one device of this host. */
export interface DeviceExpectation {
  readonly device: string;
  /** Of the tunnel's outer addresses. */
  readonly family: Family;
  /** Bytes that the tunnel's headers take from the MTU of the interface. */
  readonly overheadBytes: number;
  /** UDP port that no other program may hold; null for none. */
  readonly port: number | null;
  /** Present where tulled itself receives on the port, and not the kernel. */
  readonly receiver?: "daemon";
  /** The option of the network configuration that sets it; default `Port`. */
  readonly portOption?: string;
  /** How a device of this name differs from one that tulled can use, as in "of VNI 7"; null when it does not. */
  mismatch(link: LinkObject): string | null;
  /** What another device has that the kernel gives out once, as in "VNI 1 on port 8472"; null for none. */
  occupied(link: LinkObject): string | null;
}

export interface PreparedBackend {
  /** `Backend.Type` of the network configuration. */
  readonly type: string;
  /** `BackendType` of its leases; flannel's udp and alloc write an empty one. */
  readonly leaseType: string;
  /** The devices that it alone has; empty for a backend that routes only. */
  readonly devices: PerFamily<string>;
  /** Interfaces of the host on which it creates routes for peers. Recorded before the first route. */
  readonly sharedDevices: readonly string[];
  /** Those of the shared devices on which it creates next hop objects. Only one network of a host may have any. */
  readonly nexthopDevices: readonly string[];
  /** Interfaces by which packets of other hosts' containers come and go. */
  readonly entrances: PerFamily<readonly string[]>;
  /**
   * True where routes and devices of other programs carry the packets: what this host has inside the network's ranges then
   * belongs to the network.
   */
  readonly isCarriedByOthers?: true;
  /** Largest packet of a container, in bytes: what subnet.env says. */
  readonly mtuBytes: number;
  /** By family of the outer addresses; empty for a backend without a tunnel. */
  readonly tunnels: PerFamily<Tunnel>;
  /** What goes into our lease. */
  readonly leaseData: PerFamily<JsonValue>;
  /**
   * Why no host can program a peer's lease, in one sentence that begins with "its" or "it"; null when hosts can. The same
   * on every host.
   */
  rejectPeer(lease: Lease): string | null;
  /**
   * What is wrong with the backend data of a lease of this type, where no host can have published it, in the same form; null
   * otherwise. rejectPeer says it too. Absent for a backend without data that it reads.
   */
  damageOf?(lease: Lease): string | null;
  /** Why this host alone cannot program a peer's lease, in the same form; null when it can. */
  rejectLocally(lease: Lease): string | null;
  /** What identifies a peer besides subnets and addresses (its tunnel MAC, its public key). */
  peerIdentities(lease: Pick<Lease, "attrs">): readonly string[];
  /** What this host needs regardless of peers. `own` are our subnets. */
  planBase(own: PerFamily<Prefix>): readonly KernelObject[];
  /** What one peer needs. Only called with leases that rejectPeer accepts. */
  planPeer(lease: Lease, useNexthops: boolean): readonly KernelObject[];
  /** Starts the runner; null for a backend of kernel objects only. Called when the base objects are in place. */
  readonly startRunner: ((deps: RunnerDeps) => BackendRunner) | null;
  pathTo(lease: Lease): PeerPath;
  /** The session with each of the peers that has one, all devices together. Absent for a backend without sessions. */
  peerDetails?(sessionsOf: SessionReader, peers: Iterable<Lease>): ReadonlyMap<LeaseKey, PeerDetails>;
}

/** An option of `Backend` in the network configuration, for command lines and for what people read. */
export interface OptionDescription {
  /** As flannel writes it: `ListenPort`. */
  readonly key: string;
  /** What its value is; a switch is true or false. */
  readonly kind: "number" | "text" | "switch";
  /** One line for a list of options, with the default. */
  readonly help: string;
  /** It is not shown again once it is written. */
  readonly isSecret?: true;
}

export interface Backend {
  readonly type: string;
  /** All that parseOptions reads. */
  readonly options: readonly OptionDescription[];
  /** The families of containers that it carries; absent for both. */
  readonly families?: readonly Family[];
  /** rtnetlink types of its devices; empty for a backend that routes only. */
  readonly deviceTypes: readonly string[];
  readonly kernelNeeds: readonly (KernelNeed | FileNeed)[];
  /** True for a name that a device of this backend has under some configuration. */
  isDeviceName(name: string): boolean;
  /** True for a device that this host's agent provably created or adopted for some configuration. */
  isRecorded(link: LinkObject, record: OwnershipRecord): boolean;
  /** Validates `Backend` of the network configuration. Throws ConfigError that names the key and the value. */
  parseOptions(options: JsonObject): BackendOptions;
}

/** Options, validated. */
export interface BackendOptions {
  /** Names of the devices for the families in use. */
  deviceNames(families: readonly Family[]): PerFamily<string>;
  /** Names that only one daemon of a network namespace may hold: of devices, or of what else exists once. */
  lockNames(networks: PerFamily<Prefix>): readonly string[];
  /** Whether an existing device can be kept with its hardware address. */
  canAdopt(link: LinkObject): boolean;
  /** What doctor compares with this host. */
  expectations(families: readonly Family[]): readonly DeviceExpectation[];
  /**
   * Reads, makes or runs on this host what the backend needs before it can be prepared, and answers options that hold it.
   * Without it, prepare() answers for no host in particular. Throws ConfigError or ConflictError.
   */
  provision?(context: ProvisionContext): Promise<BackendOptions>;
  prepare(host: HostFacts, families: readonly Family[], identity: DeviceIdentity): PreparedBackend;
  /** Names the options that differ and cannot be changed under traffic; empty when `other` may be applied live. */
  unsafeDifferences(other: BackendOptions): readonly string[];
}
