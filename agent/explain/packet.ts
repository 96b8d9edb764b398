/** The packet whose way is explained, as rules of the kernel see it. Types, and what follows from them. Pure. */

import type { Address, Family } from "../../ipam/addresses/ip.ts";

/** `icmp` is an echo request, of either family. */
export type Protocol = "tcp" | "udp" | "icmp" | "ipip";

/** The first packet of a connection: connection tracking calls it new. */
export interface Packet {
  readonly family: Family;
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: Protocol;
  /** Null for protocols without ports. */
  readonly destinationPort: number | null;
  /** Null for one that this host makes. */
  readonly inputInterface: string | null;
  /** Null before the route is known, and for one that is delivered here. */
  readonly outputInterface: string | null;
  /** Whether the destination is an address of this host. */
  readonly isToHost: boolean;
  /** Null once a rule has set one that is not known. */
  readonly mark: number | null;
  /** False once a rule has taken it out of connection tracking, which leaves out address translation as well. */
  readonly isTracked: boolean;
  /** A rule has given it a mark for which it is routed again; absent: none has. */
  readonly isRerouted?: boolean;
  /** A rule has given it another destination; absent: none has. */
  readonly isTranslated?: Truth;
  /** It leaves with another source; absent: it does not. `source` stays the former one. */
  readonly isMasqueraded?: Truth;
}

/** How a rule changes a mark: the bits that stay, and those that are then inverted. */
export interface MarkChange {
  readonly keptBits: number;
  readonly flippedBits: number;
}

/** Null for a mark that is not known: a change that is not known, or bits that stay of such a mark. */
export function changedMark(mark: number | null, change: MarkChange | null): number | null {
  if (change === null || (mark === null && change.keptBits !== 0)) return null;
  return (((mark ?? 0) & change.keptBits) ^ change.flippedBits) >>> 0;
}

/** Yes, no, or not known. */
export type Truth = boolean | null;

/** linux/in.h, linux/icmpv6.h */
const NUMBERS: Readonly<Record<Protocol, number>> = { icmp: 1, ipip: 4, tcp: 6, udp: 17 };
const ICMPV6 = 58;

/** IPPROTO_* */
export function protocolNumber({ family, protocol }: Pick<Packet, "family" | "protocol">): number {
  return protocol === "icmp" && family === 6 ? ICMPV6 : NUMBERS[protocol];
}

/** The same for a lookup of routes; null where the kernel takes none (rtm_getroute_parse_ip_proto in net/ipv4/netlink.c). */
export function lookupProtocol(packet: Pick<Packet, "family" | "protocol">): number | null {
  return packet.protocol === "ipip" ? null : protocolNumber(packet);
}

const NAMES: ReadonlyMap<string, number> = new Map([
  ["icmp", 1],
  ["ipencap", 4],
  ["ipip", 4],
  ["tcp", 6],
  ["udp", 17],
  ["ah", 51],
  ["esp", 50],
  ["icmpv6", ICMPV6],
  ["ipv6-icmp", ICMPV6],
  ["dccp", 33],
  ["sctp", 132],
  ["udplite", 136],
]);

/** The number of a protocol that a rule names or numbers; null for a name that is not known here. */
export function parseProtocol(text: string): number | null {
  return /^\d+$/.test(text) ? Number(text) : (NAMES.get(text) ?? null);
}

/** True when all are, false when one is not. */
export function allOf(truths: readonly Truth[]): Truth {
  if (truths.includes(false)) return false;
  return truths.includes(null) ? null : true;
}

/** True when one is, false when none is. */
export function anyOf(truths: readonly Truth[]): Truth {
  if (truths.includes(true)) return true;
  return truths.includes(null) ? null : false;
}

export function not(truth: Truth): Truth {
  return truth === null ? null : !truth;
}

/** As rules name interfaces: `cni*` (nft) and `cni+` (iptables) stand for every name that begins so. */
export function isInterface(name: string | null, pattern: string, wildcard: "*" | "+"): boolean {
  if (name === null) return false;
  return pattern.endsWith(wildcard) ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

/** `TCP to port 80`, `an echo request`. */
export function describePacket({
  protocol,
  destinationPort,
}: Pick<Packet, "protocol" | "destinationPort">): string {
  if (protocol === "icmp") return "an echo request (ping)";
  return destinationPort === null ? protocol : `${protocol.toUpperCase()} to port ${destinationPort}`;
}
