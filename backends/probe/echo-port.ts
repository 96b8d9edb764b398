/**
 * One socket for echo requests to any number of addresses of a family, which also hears what the network reports of
 * them and of tunnel packets. It schedules nothing and measures nothing.
 *
 * A raw socket, which needs CAP_NET_RAW (raw(7)): the kernel passes errors of a datagram socket to its error queue
 * only, without the identifier.
 */

import { Address, type Family } from "../../ipam/addresses/ip.ts";
import {
  assemble,
  type Instruction,
  JUMP_IF_EQUAL,
  LOAD_BYTE_AT_X,
  LOAD_HALF_AT_X,
  LOAD_HEADER_LENGTH,
  LOAD_INTO_X,
  LOAD_WORD_AT_X,
  RETURN,
  WHOLE_PACKET,
} from "../netlink/bpf.ts";
import { check, EAGAIN } from "../netlink/errors.ts";
import * as libc from "../netlink/libc.ts";
import { AF_OF } from "../netlink/rtnetlink.ts";
import { decodeSocketAddress, encodeSocketAddress, MAX_SOCKADDR_BYTES } from "../netlink/socket-address.ts";
import {
  IPPROTO_ICMP_OF,
  MSG_DONTWAIT,
  MTU_DISCOVER,
  SO_ATTACH_FILTER,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_SOCKET,
} from "../netlink/socket-constants.ts";
import { BoundSender } from "./bound-sender.ts";
import {
  checksum,
  decodeEchoReply,
  ECHO_HEADER_BYTES,
  encodeEchoRequest,
  withoutIpv4Header,
} from "./echo-message.ts";
import {
  decodeNetworkReport,
  decodeTunnelReport,
  REPORT_TYPES,
  type TunnelReport,
} from "./network-report.ts";

/** linux/in.h */
const SOL_RAW = 255;
/** linux/icmp.h ICMP_FILTER, linux/icmpv6.h ICMPV6_FILTER: a set bit keeps messages of that type away. */
const FILTER_OPTION = 1;
const REPLY_TYPE = { 4: 0, 6: 129 } as const;
const REQUEST_TYPE = { 4: 8, 6: 128 } as const;

/** How the payload of our requests begins, so that other hosts' agents hear who still sends some. */
const MARK = Buffer.from("tulle\0\0\x01");

/** linux/in.h IP_UNICAST_IF, linux/in6.h IPV6_UNICAST_IF: packets leave by routes on this interface alone; 0 for any. */
const UNICAST_INTERFACE = { 4: [0, 50], 6: [41, 76] } as const;
/** Never fragment, and disregard what the kernel believes of the path: what the path carries is the question. */
const PMTUDISC_PROBE = 3;

const ANY_IPV4 = Address.parse("0.0.0.0");

/** The largest IP packet. */
const PACKET_BYTES = 65_536;

/** How a request leaves, other than as packets of other programs do. */
export interface Egress {
  /** By which interface, whichever the answer arrives by. */
  readonly interfaceIndex: number;
  /** From which address of this host; null for that of the interface. IPv6 before Linux 5.0: always that. */
  readonly source: Address | null;
}

/** What arrived on behalf of one of our requests. */
export type EchoEvent =
  | {
      readonly type: "reply";
      readonly from: Address;
      readonly sequence: number;
      /** Its checksum is wrong. Such ICMPv6 messages the kernel drops itself (net/ipv6/raw.c, rawv6_rcv). */
      readonly isDamaged?: boolean;
    }
  /** A router on the way, or the target itself, sent an error. */
  | {
      readonly type: "report";
      readonly from: Address;
      readonly target: Address;
      readonly sequence: number;
      /** As a few words: "host unreachable". */
      readonly text: string;
    }
  /** An agent of another host has sent a request to this one. */
  | { readonly type: "request"; readonly from: Address }
  /** The same about a packet that is none of our requests. */
  | ({ readonly type: "tunnel report"; readonly from: Address } & TunnelReport);

export class EchoPort {
  readonly #family: Family;
  readonly #fd: number;
  readonly #id: number;
  /** Null for IPv4, and where the kernel has none. */
  readonly #boundSender: BoundSender | null;
  readonly #packet = Buffer.allocUnsafe(PACKET_BYTES);
  readonly #from = Buffer.alloc(MAX_SOCKADDR_BYTES);
  #interfaceIndex = 0;
  #source = ANY_IPV4;
  #watch: libc.Watch | null = null;

  private constructor(fd: number, family: Family, id: number, boundSender: BoundSender | null) {
    this.#fd = fd;
    this.#boundSender = boundSender;
    this.#family = family;
    this.#id = id;
  }

  /** `id` marks our requests, 1 to 65535. Throws NetlinkError: EPERM without CAP_NET_RAW, EAFNOSUPPORT. */
  static open(family: Family, id: number): EchoPort {
    const opened = libc.socket(AF_OF[family], SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP_OF[family]);
    const fd = check("raw socket for echo requests", opened);
    try {
      const [level, option] = MTU_DISCOVER[family];
      check("MTU_DISCOVER", libc.setIntOption(fd, level, option, PMTUDISC_PROBE));
      check("filter of message types", setTypeFilter(fd, family));
      const filter = idFilter(family, id);
      check("SO_ATTACH_FILTER", libc.setFilterOption(fd, SOL_SOCKET, SO_ATTACH_FILTER, filter));
      return new EchoPort(fd, family, id, family === 4 ? null : BoundSender.open(PMTUDISC_PROBE));
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }

  /**
   * Sends a request of `packetBytes`, the IP header included, that no router may fragment. Throws NetlinkError:
   * ENETUNREACH, EHOSTUNREACH, EMSGSIZE (larger than the interface's MTU), EPERM (a local firewall), ENOBUFS; with an
   * egress also EADDRNOTAVAIL.
   */
  send(target: Address, sequence: number, packetBytes: number, egress: Egress | null = null): void {
    const payload = Buffer.alloc(Math.max(0, packetBytes - HEADER_BYTES[this.#family]));
    MARK.copy(payload);
    const request = encodeEchoRequest(this.#family, { id: this.#id, sequence, payload });
    const { interfaceIndex = 0, source = null } = egress ?? {};
    if (this.#boundSender !== null && source !== null) {
      this.#boundSender.send(request, target, source, interfaceIndex);
      return;
    }
    this.#setInterface(interfaceIndex);
    this.#setSource(source ?? ANY_IPV4);
    check(
      `echo request to ${target}`,
      libc.sendto(this.#fd, request, MSG_DONTWAIT, encodeSocketAddress(target)),
    );
  }

  #setInterface(index: number): void {
    if (index === this.#interfaceIndex) return;
    const [level, option] = UNICAST_INTERFACE[this.#family];
    const inNetworkOrder = Buffer.alloc(4);
    inNetworkOrder.writeUInt32BE(index);
    check("UNICAST_IF", libc.setBytesOption(this.#fd, level, option, inNetworkOrder));
    this.#interfaceIndex = index;
  }

  #setSource(source: Address): void {
    if (this.#family !== 4 || source.equals(this.#source)) return;
    check(`source ${source}`, libc.bind(this.#fd, encodeSocketAddress(source)));
    this.#source = source;
  }

  /** One event that has arrived; null when none waits. Messages that are not about our requests are skipped. */
  receive(): EchoEvent | null {
    for (;;) {
      const length = libc.recvfrom(this.#fd, this.#packet, MSG_DONTWAIT, this.#from);
      if (length === -EAGAIN) return null;
      const packet = this.#packet.subarray(0, check("recvfrom of an echo reply", length));
      const event = this.#decode(this.#family === 4 ? withoutIpv4Header(packet) : packet);
      if (event !== null) return event;
    }
  }

  /** Calls back on the event loop while something waits. The callback must not throw. */
  onReadable(callback: () => void): void {
    this.#watch?.close();
    this.#watch = libc.watchReadable(this.#fd, callback);
  }

  /** Ends what onReadable() began. */
  pause(): void {
    this.#watch?.close();
    this.#watch = null;
  }

  /** Call it once. */
  close(): void {
    this.#watch?.close();
    this.#boundSender?.close();
    libc.close(this.#fd);
  }

  #decode(message: Buffer): EchoEvent | null {
    const from = decodeSocketAddress(this.#from, this.#family);
    const reply = decodeEchoReply(this.#family, message);
    if (reply !== null) {
      if (reply.id !== this.#id) return null;
      // A raw IPv4 socket gets a message before its checksum is looked at (net/ipv4/ip_input.c, ip_protocol_deliver_rcu).
      const isDamaged = this.#family === 4 && checksum(message) !== 0;
      return { type: "reply", from, sequence: reply.sequence, isDamaged };
    }
    // The filter has let it pass for its mark.
    if (message[0] === REQUEST_TYPE[this.#family]) return { type: "request", from };
    const tunnel = decodeTunnelReport(this.#family, message);
    if (tunnel !== null) return { type: "tunnel report", from, ...tunnel };
    const report = decodeNetworkReport(this.#family, message);
    if (report === null || report.id !== this.#id) return null;
    const { target, sequence, text } = report;
    return { type: "report", from, target, sequence, text };
  }
}

/** Of an IP header without options and an echo message's own. */
export const HEADER_BYTES = { 4: 28, 6: 48 } as const;

function setTypeFilter(fd: number, family: Family): number {
  const wanted = [REPLY_TYPE[family], REQUEST_TYPE[family], ...REPORT_TYPES[family]];
  if (family === 4) {
    const blocked = wanted.reduce((mask, type) => mask & ~(1 << type), ~0);
    return libc.setIntOption(fd, SOL_RAW, FILTER_OPTION, blocked);
  }
  const blocked = Buffer.alloc(32, 0xff);
  for (const type of wanted) {
    const word = (type >> 5) * 4;
    blocked.writeUInt32LE((blocked.readUInt32LE(word) & ~(1 << (type & 31))) >>> 0, word);
  }
  return libc.setBytesOption(fd, IPPROTO_ICMP_OF[6], FILTER_OPTION, blocked);
}

/** Leaves replies to other programs' requests, and their requests, in the kernel. A raw IPv4 socket sees the IP header, an IPv6 one does not. */
function idFilter(family: Family, id: number): Uint8Array {
  const program: readonly Instruction[] = [
    family === 4 ? [LOAD_HEADER_LENGTH, 0, 0, 0] : [LOAD_INTO_X, 0, 0, 0],
    [LOAD_BYTE_AT_X, 0, 0, 0],
    [JUMP_IF_EQUAL, 0, 2, REPLY_TYPE[family]],
    [LOAD_HALF_AT_X, 0, 0, 4],
    [JUMP_IF_EQUAL, 3, 4, id],
    [JUMP_IF_EQUAL, 0, 2, REQUEST_TYPE[family]],
    [LOAD_WORD_AT_X, 0, 0, ECHO_HEADER_BYTES],
    [JUMP_IF_EQUAL, 0, 1, MARK.readUInt32BE()],
    [RETURN, 0, 0, WHOLE_PACKET],
    [RETURN, 0, 0, 0],
  ];
  return assemble(program);
}
