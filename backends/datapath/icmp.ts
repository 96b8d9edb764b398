/**
 * ICMP errors to the senders of packets that cannot be delivered (RFC 792, RFC 4443), written to the TUN device as
 * from the tunnel's own address. The kernel takes a packet from one of its own addresses only with accept_local=1 on
 * the device.
 */

import { ADDRESS_BITS, type Family } from "../../ipam/addresses/ip.ts";
import * as libc from "../netlink/libc.ts";
import { type Arena, IOVEC_BYTES } from "./arena.ts";
import { complement, fold, type Sum } from "./checksum.ts";
import type { Counter, Counters } from "./counters.ts";
import { ICMP, ICMPV6, type Packet, pseudoHeaderSum, sealIpv4Header } from "./packet.ts";
import type { PeerIndex } from "./peer-index.ts";
import { VNET_BYTES } from "./vnet-header.ts";

const HEADER_BYTES: Readonly<Record<Family, number>> = { 4: 20, 6: 40 };
const ICMP_HEADER_BYTES = 8;
/** RFC 1812 §4.3.2.3 and RFC 4443 §2.4(c): how long the whole error may be. */
const MAX_BYTES: Readonly<Record<Family, number>> = { 4: 576, 6: 1280 };
const HOP_LIMIT = 64;

/** Type and code: net unreachable, and no route to destination; hop limit exceeded in transit. */
const UNREACHABLE = { 4: [3, 0], 6: [1, 0] } as const;
const TIME_EXCEEDED = { 4: [11, 0], 6: [3, 0] } as const;

/** RFC 792 and its successors: what is itself an error gets none. */
const ICMP_ERROR_TYPES: ReadonlySet<number> = new Set([3, 4, 5, 11, 12]);
/** RFC 4443 §2.1: errors have types below this. */
const ICMPV6_FIRST_INFORMATIONAL = 128;

const PER_SECOND = 100;

export interface IcmpParts {
  readonly arena: Arena;
  readonly sum: Sum;
  readonly tun: number;
  /** Knows the tunnel's own addresses: the bases of this host's subnets. */
  readonly own: Pick<PeerIndex, "ownBase">;
  readonly counters: Counters;
  readonly nowMs: () => number;
}

export class IcmpErrors {
  readonly #parts: IcmpParts;
  readonly #buffer: number;
  readonly #iovec: number;
  #tokens = PER_SECOND;
  #refilledMs = 0;

  constructor(parts: IcmpParts) {
    this.#parts = parts;
    this.#buffer = parts.arena.reserve(VNET_BYTES + MAX_BYTES[6] + 8) + 2;
    this.#iovec = parts.arena.reserve(IOVEC_BYTES);
    parts.arena.bytes.fill(0, this.#buffer, this.#buffer + VNET_BYTES);
  }

  /** No peer has the destination. */
  unreachable(packet: Packet): void {
    this.#send(packet, UNREACHABLE[packet.family], "icmpUnreachable");
  }

  /** The packet has no hop left. */
  timeExceeded(packet: Packet): void {
    this.#send(packet, TIME_EXCEEDED[packet.family], "icmpTimeExceeded");
  }

  #send(packet: Packet, [type, code]: readonly [number, number], counter: Counter): void {
    const { arena, sum, tun, own, counters } = this.#parts;
    const { family } = packet;
    const source = own.ownBase(family);
    if (source === null || !this.#mayAnswer(packet) || !this.#takeToken()) return;
    const ip = this.#buffer + VNET_BYTES;
    const icmp = ip + HEADER_BYTES[family];
    const quoted = Math.min(packet.length, MAX_BYTES[family] - HEADER_BYTES[family] - ICMP_HEADER_BYTES);
    const icmpLength = ICMP_HEADER_BYTES + quoted;
    arena.bytes.fill(0, ip, icmp + ICMP_HEADER_BYTES);
    arena.bytes.copyWithin(icmp + ICMP_HEADER_BYTES, packet.at, packet.at + quoted);
    arena.bytes.set([type, code], icmp);
    this.#writeIpHeader(ip, packet, source, icmpLength);
    const pseudo = family === 4 ? 0 : pseudoHeaderSum(sum, ip, family, ICMPV6, icmpLength);
    arena.view.setUint16(icmp + 2, complement(fold(pseudo + sum(icmp, icmpLength))), true);
    arena.iovec(this.#iovec, this.#buffer, VNET_BYTES + HEADER_BYTES[family] + icmpLength);
    // Lost like any packet when the device is down or its queue full.
    if (libc.writevAt(tun, arena.base + this.#iovec, 1) > 0) counters.add(counter);
  }

  #writeIpHeader(ip: number, packet: Packet, source: Uint8Array, icmpLength: number): void {
    const { arena, sum } = this.#parts;
    const { view, bytes } = arena;
    const addressBytes = ADDRESS_BITS[packet.family] / 8;
    const sourceAt = ip + (packet.family === 4 ? 12 : 8);
    bytes.set(source, sourceAt);
    bytes.copyWithin(sourceAt + addressBytes, packet.sourceAt, packet.sourceAt + addressBytes);
    if (packet.family === 6) {
      view.setUint8(ip, 0x60);
      view.setUint16(ip + 4, icmpLength);
      view.setUint8(ip + 6, ICMPV6);
      view.setUint8(ip + 7, HOP_LIMIT);
      return;
    }
    view.setUint8(ip, 0x45);
    view.setUint16(ip + 2, HEADER_BYTES[4] + icmpLength);
    view.setUint8(ip + 8, HOP_LIMIT);
    view.setUint8(ip + 9, ICMP);
    sealIpv4Header(arena, sum, ip, HEADER_BYTES[4]);
  }

  /** RFC 1122 §3.2.2 and RFC 4443 §2.4(e): never for errors, later fragments, group and unspecified addresses. */
  #mayAnswer(packet: Packet): boolean {
    const { view } = this.#parts.arena;
    const type = packet.length > packet.headerLength ? view.getUint8(packet.at + packet.headerLength) : 0;
    if (packet.family === 6) {
      const isError = packet.protocol === ICMPV6 && type < ICMPV6_FIRST_INFORMATIONAL;
      const isUnspecified = [0, 4, 8, 12].every((word) => view.getUint32(packet.sourceAt + word) === 0);
      return (
        !isError &&
        !isUnspecified &&
        !this.#isIpv6Group(packet.sourceAt) &&
        !this.#isIpv6Group(packet.destinationAt)
      );
    }
    const isLaterFragment = (view.getUint16(packet.at + 6) & 0x1fff) !== 0;
    const isError = packet.protocol === ICMP && ICMP_ERROR_TYPES.has(type);
    const source = view.getUint8(packet.sourceAt);
    const destination = view.getUint8(packet.destinationAt);
    return !isError && !isLaterFragment && source !== 0 && source < 224 && destination < 224;
  }

  #isIpv6Group(at: number): boolean {
    return this.#parts.arena.view.getUint8(at) === 0xff;
  }

  /** A token bucket: RFC 1812 §4.3.2.8, RFC 4443 §2.4(f). */
  #takeToken(): boolean {
    const nowMs = this.#parts.nowMs();
    const gained = ((nowMs - this.#refilledMs) * PER_SECOND) / 1000;
    this.#tokens = Math.min(PER_SECOND, this.#tokens + gained);
    this.#refilledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
