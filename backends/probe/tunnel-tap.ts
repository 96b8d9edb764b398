/**
 * Sees on an interface the tunnel packets to and from a few hosts: which leave this host and which arrive at it, whatever a
 * firewall then does with them. Reads headers only.
 *
 * A packet socket (packet(7)), which needs CAP_NET_RAW. It gets packets that arrive before any firewall rule and those that
 * leave after all of them. A filter in the kernel passes only packets of the hosts in question, and of those the first bytes.
 */

import type { Address, Family } from "../../ipam/addresses/ip.ts";
import {
  assemble,
  type Instruction,
  JUMP,
  JUMP_IF_EQUAL,
  LOAD_BYTE,
  LOAD_HEADER_LENGTH,
  LOAD_WORD,
  LOAD_WORD_AT_X,
  RETURN,
} from "../netlink/bpf.ts";
import { check, EAGAIN, ENETDOWN } from "../netlink/errors.ts";
import * as libc from "../netlink/libc.ts";
import {
  MSG_DONTWAIT,
  SO_ATTACH_FILTER,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOL_SOCKET,
} from "../netlink/socket-constants.ts";
import {
  decodeAdvertisement,
  decodeArpReply,
  encodeArpRequest,
  IPPROTO_ICMPV6,
  type LinkAnswer,
} from "./link-answer.ts";
import { decodeTunnelPacket, IPPROTO_IPIP, type TunnelKind, type TunnelPacket } from "./tunnel-packet.ts";

/** linux/socket.h */
const AF_PACKET = 17;

/** linux/if_ether.h */
const ETH_P_ALL = 0x0003;
const ETH_P_ARP = 0x0806;
const ETH_P_IP = 0x0800;
const ETH_P_IPV6 = 0x86dd;

/** linux/if_packet.h: `struct sockaddr_ll` and the types of packets in it. */
const SOCKADDR_LL_BYTES = 20;
const PACKET_OTHERHOST = 3;
const PACKET_OUTGOING = 4;

/** Headers of the tunnel, and of what is inside. */
const SNAP_BYTES = 160;

/** A host whose packets are looked at. */
export interface TappedHost {
  readonly outer: Address;
  /** The address whose answers of the link are looked at. */
  readonly onLink: Address;
  /** An address that it has inside the tunnel. */
  readonly inner: Address;
  readonly tunnel: TunnelKind;
}

export type TapEvent =
  | { readonly type: "packet"; readonly isOutgoing: boolean; readonly packet: TunnelPacket }
  | ({ readonly type: "link answer" } & LinkAnswer);

export class TunnelTap {
  readonly #fd: number;
  readonly #interfaceIndex: number;
  readonly #packet = Buffer.alloc(SNAP_BYTES);
  readonly #from = Buffer.alloc(SOCKADDR_LL_BYTES);
  #kinds: readonly TunnelKind[] = [];

  private constructor(fd: number, interfaceIndex: number) {
    this.#fd = fd;
    this.#interfaceIndex = interfaceIndex;
  }

  /** Sees nothing before `follow`. Throws NetlinkError: EPERM without CAP_NET_RAW. */
  static open(interfaceIndex: number): TunnelTap {
    // Of no protocol: it receives nothing until it is bound, when its filter is there.
    const fd = check("packet socket", libc.socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const tap = new TunnelTap(fd, interfaceIndex);
    try {
      tap.follow([]);
      check("bind of a packet socket", libc.bind(fd, socketAddress(interfaceIndex, ETH_P_ALL)));
      return tap;
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }

  /** The hosts to look at from now on, at most 16. Throws NetlinkError. */
  follow(hosts: readonly TappedHost[]): void {
    this.#kinds = distinct(hosts.map(({ tunnel }) => tunnel));
    const filter = assemble(tapFilter(hosts));
    check("SO_ATTACH_FILTER", libc.setFilterOption(this.#fd, SOL_SOCKET, SO_ATTACH_FILTER, filter));
  }

  /**
   * Asks all hosts of the link who has an IPv4 address, from an address of this host there. The kernel takes the answers
   * too.
   */
  askWho(address: Address, sender: Address): void {
    const request = encodeArpRequest(address, sender, this.#hardwareAddress());
    const to = socketAddress(this.#interfaceIndex, ETH_P_ARP, Buffer.alloc(6, 0xff));
    check("ARP request", libc.sendto(this.#fd, request, MSG_DONTWAIT, to));
  }

  /** One event that was seen; null when none waits. What the socket has no room for is dropped. Throws NetlinkError. */
  receive(): TapEvent | null {
    for (;;) {
      const length = libc.recvfrom(this.#fd, this.#packet, MSG_DONTWAIT, this.#from);
      // The interface went down: nothing was seen.
      if (length === -EAGAIN || length === -ENETDOWN) return null;
      const event = this.#decode(this.#packet.subarray(0, check("recvfrom of a packet socket", length)));
      if (event !== null) return event;
    }
  }

  /** Call it once. */
  close(): void {
    libc.close(this.#fd);
  }

  /** Of the interface, as packet(7) tells it. */
  #hardwareAddress(): Buffer {
    const address = Buffer.alloc(SOCKADDR_LL_BYTES);
    check("getsockname of a packet socket", libc.getsockname(this.#fd, address));
    return address.subarray(12, 18);
  }

  #decode(packet: Buffer): TapEvent | null {
    const type = this.#from.readUInt8(10);
    // A switch that does not know a hardware address sends its packets to all: they are not for this host.
    if (type === PACKET_OTHERHOST) return null;
    const isArp = this.#from.readUInt16BE(2) === ETH_P_ARP;
    const answer = isArp ? decodeArpReply(packet) : decodeAdvertisement(packet);
    if (answer !== null) return { type: "link answer", ...answer };
    if (isArp) return null;
    const isOutgoing = type === PACKET_OUTGOING;
    for (const kind of this.#kinds) {
      const decoded = decodeTunnelPacket(packet, kind);
      if (decoded !== null) return { type: "packet", isOutgoing, packet: decoded };
    }
    return null;
  }
}

function distinct(kinds: readonly TunnelKind[]): readonly TunnelKind[] {
  return [...new Map(kinds.map((kind) => [`${kind.port} ${kind.format}`, kind])).values()];
}

/** `struct sockaddr_ll`. */
function socketAddress(interfaceIndex: number, protocol: number, mac = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(SOCKADDR_LL_BYTES);
  bytes.writeUInt16LE(AF_PACKET, 0);
  bytes.writeUInt16BE(protocol, 2);
  bytes.writeInt32LE(interfaceIndex, 4);
  bytes.writeUInt8(mac.length, 11);
  bytes.set(mac, 12);
  return bytes;
}

/** linux/filter.h SKF_AD_OFF + SKF_AD_PROTOCOL: the Ethernet type. */
const PROTOCOL = 0xfffff000;

const PASS: Instruction = [RETURN, 0, 0, SNAP_BYTES];
const DROP: Instruction = [RETURN, 0, 0, 0];

/** Offsets in IP headers; of IPv6 addresses the last word, which is compared alone: more than one host may have it. */
const IP_PROTOCOL = { 4: 9, 6: 6 } as const;
const SOURCE = { 4: 12, 6: 20 } as const;
const DESTINATION = { 4: 16, 6: 36 } as const;
/** The first word of VXLAN, and the inner source address of IPv4, behind the header of UDP. */
const VXLAN_AT = 8;
const INNER_SOURCE_AT = 8 + 8 + 14 + 12;
const VXLAN_WORD = 0x08000000;
const ARP_SENDER_AT = 14;

function tapFilter(hosts: readonly TappedHost[]): readonly Instruction[] {
  const sections: readonly (readonly [number, readonly Instruction[]])[] = [
    [ETH_P_IP, ipSection(4, hosts)],
    [ETH_P_IPV6, ipSection(6, hosts)],
    [
      ETH_P_ARP,
      [
        [LOAD_WORD, 0, 0, ARP_SENDER_AT],
        ...passAny(
          wordsOf(
            hosts.map(({ onLink }) => onLink),
            4,
          ),
        ),
        DROP,
      ],
    ],
  ];
  const program: Instruction[] = [[LOAD_WORD, 0, 0, PROTOCOL]];
  for (const [protocol, section] of sections) {
    program.push([JUMP_IF_EQUAL, 1, 0, protocol], [JUMP, 0, 0, section.length], ...section);
  }
  return [...program, DROP];
}

function ipSection(family: Family, hosts: readonly TappedHost[]): readonly Instruction[] {
  const tunnels = hosts.map(({ tunnel }) => (tunnel.port === null ? IPPROTO_IPIP : 17));
  const protocols = [...new Set([...tunnels, ...(family === 6 ? [IPPROTO_ICMPV6] : [])])];
  const words = wordsOf(
    hosts.flatMap(({ outer, onLink }) => [outer, onLink]),
    family,
  );
  return [
    [LOAD_BYTE, 0, 0, IP_PROTOCOL[family]],
    ...protocols.map((protocol, at): Instruction => [JUMP_IF_EQUAL, protocols.length - at, 0, protocol]),
    DROP,
    [LOAD_WORD, 0, 0, SOURCE[family]],
    ...passAny(words),
    [LOAD_WORD, 0, 0, DESTINATION[family]],
    ...passAny(words),
    ...(family === 4 ? passInner(hosts) : []),
    DROP,
  ];
}

/** A host behind address translation sends from an address that its lease does not name. */
function passInner(hosts: readonly TappedHost[]): readonly Instruction[] {
  const words = hosts
    .filter(({ tunnel, inner }) => tunnel.format === "vxlan" && inner.family === 4)
    .map(({ inner }) => lastWord(inner));
  if (words.length === 0) return [];
  return [
    [LOAD_HEADER_LENGTH, 0, 0, 0],
    [LOAD_WORD_AT_X, 0, 0, VXLAN_AT],
    [JUMP_IF_EQUAL, 1, 0, VXLAN_WORD],
    DROP,
    [LOAD_WORD_AT_X, 0, 0, INNER_SOURCE_AT],
    ...passAny(words),
  ];
}

function passAny(words: readonly number[]): readonly Instruction[] {
  return words.flatMap((word): Instruction[] => [[JUMP_IF_EQUAL, 0, 1, word], PASS]);
}

function wordsOf(addresses: readonly Address[], family: Family): readonly number[] {
  return [...new Set(addresses.filter((address) => address.family === family).map(lastWord))];
}

function lastWord(address: Address): number {
  return Buffer.from(address.toBytes()).readUInt32BE(address.family === 4 ? 0 : 12);
}
