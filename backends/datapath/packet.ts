/** IP packets in the arena: where their fields are, and the few changes that a tunnel makes to them. */

import type { Arena } from "./arena.ts";
import { complement, fold, type Sum } from "./checksum.ts";

/** IANA protocol numbers. */
export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const ICMPV6 = 58;

/** RFC 3168 §5: the two low bits of the traffic class. */
export const NOT_ECT = 0;
export const ECT_1 = 1;
export const CE = 3;

/** Without options. */
export const IPV4_HEADER_BYTES = 20;
export const TCP_HEADER_BYTES = 20;
export const UDP_HEADER_BYTES = 8;
const IPV6_HEADER_BYTES = 40;
/** RFC 791: more fragments, and the offset, without don't-fragment. */
const FRAGMENT_MASK = 0x3fff;

/** Offset of the TCP and UDP checksum in their headers. */
export const TCP_CHECKSUM = 16;
export const UDP_CHECKSUM = 6;

/** A view of one packet; reused for the next, so that a packet costs no object. */
export class Packet {
  readonly #arena: Arena;
  readonly #sum: Sum;
  /** Offset in the arena. */
  at = 0;
  family: 4 | 6 = 4;
  /** By the packet's own header, in bytes. */
  length = 0;
  headerLength = 0;
  /** Of the payload that follows; an IPv6 extension header counts as the payload. */
  protocol = 0;
  isFragment = false;

  constructor(arena: Arena, sum: Sum) {
    this.#arena = arena;
    this.#sum = sum;
  }

  /** Looks at the packet at `at`; false when it is none, or is cut within `available` bytes. */
  parse(at: number, available: number): boolean {
    const { view } = this.#arena;
    this.at = at;
    if (available < IPV4_HEADER_BYTES) return false;
    const version = view.getUint8(at) >> 4;
    if (version === 4) {
      this.family = 4;
      this.headerLength = (view.getUint8(at) & 0xf) * 4;
      this.length = view.getUint16(at + 2);
      this.protocol = view.getUint8(at + 9);
      this.isFragment = (view.getUint16(at + 6) & FRAGMENT_MASK) !== 0;
      if (this.headerLength < IPV4_HEADER_BYTES) return false;
    } else if (version === 6 && available >= IPV6_HEADER_BYTES) {
      this.family = 6;
      this.headerLength = IPV6_HEADER_BYTES;
      this.length = IPV6_HEADER_BYTES + view.getUint16(at + 4);
      this.protocol = view.getUint8(at + 6);
      this.isFragment = false;
    } else return false;
    return this.length <= available && this.headerLength <= this.length;
  }

  get sourceAt(): number {
    return this.at + (this.family === 4 ? 12 : 8);
  }

  get destinationAt(): number {
    return this.at + (this.family === 4 ? 16 : 24);
  }

  get hopLimit(): number {
    return this.#arena.view.getUint8(this.at + (this.family === 4 ? 8 : 7));
  }

  /** Takes one hop off the packet, which must have one left. */
  decrementHopLimit(): void {
    const { view } = this.#arena;
    if (this.family === 6) {
      view.setUint8(this.at + 7, view.getUint8(this.at + 7) - 1);
      return;
    }
    this.#changeWord(this.at + 8, view.getUint16(this.at + 8) - 0x100);
  }

  /** The two bits of Explicit Congestion Notification. */
  get ecn(): number {
    const { view } = this.#arena;
    return this.family === 4 ? view.getUint8(this.at + 1) & 3 : (view.getUint8(this.at + 1) >> 4) & 3;
  }

  set ecn(bits: number) {
    const { view } = this.#arena;
    if (this.family === 6) {
      view.setUint8(this.at + 1, (view.getUint8(this.at + 1) & 0xcf) | (bits << 4));
      return;
    }
    this.#changeWord(this.at, (view.getUint16(this.at) & 0xfffc) | bits);
  }

  /** Changes a word of the IPv4 header and its checksum with it (RFC 1624, equation 3). */
  #changeWord(at: number, value: number): void {
    const { view } = this.#arena;
    const before = view.getUint16(at);
    view.setUint16(at, value);
    const checksum = ~view.getUint16(this.at + 10) & 0xffff;
    view.setUint16(this.at + 10, ~fold(checksum + (~before & 0xffff) + value) & 0xffff);
  }

  /** True when the header's own checksum is right; IPv6 has none. */
  get isHeaderIntact(): boolean {
    return this.family === 6 || this.#sum(this.at, this.headerLength) === 0xffff;
  }
}

/**
 * The part of a TCP, UDP or ICMPv6 checksum that covers the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1), folded.
 * `packetAt` is a packet's header, `length` that of its payload.
 */
export function pseudoHeaderSum(
  sum: Sum,
  packetAt: number,
  family: 4 | 6,
  protocol: number,
  length: number,
): number {
  const addresses = family === 4 ? sum(packetAt + 12, 8) : sum(packetAt + 8, 32);
  return fold(addresses + networkOrder(protocol) + networkOrder(length));
}

/** Writes the checksum of an IPv4 header whose other fields are final. */
export function sealIpv4Header(arena: Arena, sum: Sum, at: number, headerLength: number): void {
  arena.view.setUint16(at + 10, 0);
  arena.view.setUint16(at + 10, complement(sum(at, headerLength)), true);
}

/** Sums are in the machine's order, lengths and protocols in network order. */
export function networkOrder(value: number): number {
  return ((value & 0xff) << 8) | (value >> 8);
}

/** Of the TCP header at `at`, with its options, in bytes. */
export function tcpHeaderLength(arena: Arena, at: number): number {
  return (arena.view.getUint8(at + 12) >> 4) * 4;
}
