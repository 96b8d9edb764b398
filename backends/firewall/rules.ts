/**
 * Firewall rules independent of the engine: what a plan wants, before nft or iptables render it.
 *
 * Types and the names that both engines share with flannel. No I/O, no syntax of any tool.
 */

import type { Address, Family, PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import type { Mac } from "../../ipam/addresses/mac.ts";
import type { NetworkName } from "./names.ts";

/** An address test: inside `prefix`, or outside when negated. */
export interface PrefixMatch {
  readonly prefix: Prefix;
  readonly isNegated: boolean;
}

/** A test of the packet mark: `mark & mask == value`. */
export interface MarkMatch {
  readonly value: number;
  readonly mask: number;
}

/** The matches of a rule; an absent one matches every packet. */
export interface Matches {
  readonly mark?: MarkMatch;
  readonly source?: PrefixMatch;
  readonly destination?: PrefixMatch;
  /** Interface name; a trailing `*` stands for any ending. */
  readonly inputInterface?: string;
  readonly outputInterface?: string;
  /** The destination is not an address of this host. */
  readonly isNotLocal?: true;
  /** UDP with this destination port, 1 .. 65535. */
  readonly udpPort?: number;
  /** TCP with this destination port, 1 .. 65535. */
  readonly tcpPort?: number;
  /** A VXLAN packet, known to be UDP, whose VNI is that of a named network: 4096 or more. */
  readonly isNamedVni?: Family;
  /** An IP protocol other than TCP and UDP: IPv4 inside IPv4 (RFC 2003). */
  readonly protocol?: "ipip";
  /** A TCP packet that opens a connection (SYN without RST). */
  readonly isTcpSyn?: true;
  /** Packets to the source would not leave by the interface that this one came in by (RFC 3704, strict). */
  readonly isOffPath?: true;
  /** The source is none of the chain's `knownSources`. */
  readonly isFromUnknownSource?: true;
}

/** The condition under which a packet enters a chain. */
export type Gate = Pick<Matches, "inputInterface" | "outputInterface" | "udpPort" | "protocol">;

export type Action =
  | { readonly do: "accept" | "drop" | "return" | "notrack" }
  | { readonly do: "masquerade"; readonly randomFully: boolean }
  /** Lowers the MSS option to what the route's MTU can carry. */
  | { readonly do: "clamp-mss" };

export interface Rule {
  readonly matches: Matches;
  readonly action: Action;
}

/**
 * The places where rules are needed, in the order in which a listing shows them:
 * - forward: accepts what the network forwards;
 * - docker-user: accepts what other hosts send or get, in the chain that Docker keeps in front of its own drops, and
 *   nothing that passes between Docker's own networks, which Docker isolates. Only iptables has that chain;
 * - masquerade: source NAT on the way out;
 * - input: accepts tunnel packets for this host;
 * - name-server: accepts what containers ask this host's name server, where other rules may drop it. Only iptables can;
 * - container-in: drops what containers send with foreign source addresses, on arrival;
 * - tunnel-in: drops forged tunnel packets on arrival, before connection tracking;
 * - tunnel-out: our own tunnel packets, before connection tracking;
 * - tunnel-forward: tunnel packets that pass through this host, where no other table's accept can skip it;
 * - tunnel-local: drops packets to the tunnel's port that this host receives under another address than the tunnel's;
 * - bridge-from, bridge-to: drop what this host would route from and to bridges that only switch frames;
 * - bridge-in, bridge-out: drop what such bridges deliver to this host, and what it sends there;
 * - mss-clamp: lowers the MSS of connections that enter the tunnel;
 * - overlay-in: accepts what leaves the tunnel for our own containers, where Docker (28 and later) drops whatever
 *   does not come from its own bridge. Only iptables can overrule that: nft's accept ends no other base chain.
 */
export const CHAIN_ROLES = [
  "forward",
  "docker-user",
  "masquerade",
  "input",
  "name-server",
  "container-in",
  "tunnel-in",
  "tunnel-out",
  "tunnel-forward",
  "tunnel-local",
  "bridge-from",
  "bridge-to",
  "bridge-in",
  "bridge-out",
  "mss-clamp",
  "overlay-in",
] as const;
export type ChainRole = (typeof CHAIN_ROLES)[number];

/** The rules of one address family. A role without rules has no chain. */
export interface FamilyRules {
  readonly chains: Readonly<Partial<Record<ChainRole, readonly Rule[]>>>;
  /** Gates by role: only packets that match the gate reach the role's rules. Tested once per packet. */
  readonly gates: Readonly<Partial<Record<ChainRole, Gate>>>;
  /** Who may send tunnel packets to us; null when any host may. */
  readonly knownSources: readonly Address[] | null;
}

/** What the host's firewall must hold for one network. */
export interface FirewallPlan {
  readonly rules: PerFamily<FamilyRules>;
  /** Ports of bridges that may send with their own addresses only; absent where the network has no such bridges. */
  readonly ports?: readonly GuardedPort[];
  /** The network configuration enables nftables (EnableNFTables). */
  readonly prefersNft: boolean;
  /** Settings that are valid but have no effect. One sentence each. */
  readonly warnings: readonly string[];
}

/** A port of a bridge, and what the container behind it may send. */
export interface GuardedPort {
  readonly name: string;
  readonly mac: Mac;
  readonly addresses: PerFamily<Address>;
  /** UDP port of tunnels, to which it may send nothing. */
  readonly tunnelPort: number;
}

/** A plan that wants nothing: applying it removes all rules of the network. */
export const EMPTY_PLAN: FirewallPlan = { rules: {}, prefersNft: false, warnings: [] };

/** The plans of all networks of a host. Names in the kernel carry the network's name. */
export type FirewallPlans = ReadonlyMap<NetworkName, FirewallPlan>;

/** The comment that flannel gives its rules, by role. Ours are the same, so that either agent knows them. */
export function commentOf(role: ChainRole): string {
  switch (role) {
    case "forward":
    case "docker-user":
      return "flanneld forward";
    case "masquerade":
      return "flanneld masq";
    case "container-in":
      return "tulle sources";
    case "input":
    case "tunnel-in":
    case "tunnel-out":
    case "tunnel-forward":
    case "tunnel-local":
    case "mss-clamp":
    case "overlay-in":
      return "tulle tunnel";
    case "name-server":
      return "tulle names";
    case "bridge-from":
    case "bridge-to":
    case "bridge-in":
    case "bridge-out":
      return "tulle isolation";
  }
}

/** True when the match excludes nothing and need not be spelled. */
export function matchesAll(match: PrefixMatch): boolean {
  return match.prefix.length === 0 && !match.isNegated;
}

/** By IP protocol number (IANA): the tools list it under different names. */
export const IP_PROTOCOL = { ipip: 4 } as const satisfies Record<NonNullable<Matches["protocol"]>, number>;

/** VNIs of named networks begin here (ipam/named-networks). */
export const FIRST_NAMED_VNI = 4096;

/** The names that protocols(5) of the distributions have for IPv4 inside IPv4, as the tools list them. */
export const IPIP_NAMES: readonly string[] = ["ipencap", "ipv4", "ipip"];

/** Addresses that mean something on one link only (RFC 3927, RFC 4291). */
export const LINK_LOCAL_PREFIX = { 4: "169.254.0.0/16", 6: "fe80::/10" } as const satisfies Record<
  Family,
  string
>;

/** Address families' multicast ranges: 224.0.0.0/4 and ff00::/8. */
export const MULTICAST_PREFIX = { 4: "224.0.0.0/4", 6: "ff00::/8" } as const satisfies Record<Family, string>;
