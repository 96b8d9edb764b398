/**
 * From the TUN device to the peers: reads packets, cuts super-packets into the datagrams that the peer's host expects
 * (one IP packet each), and sends them.
 */

import type { Family } from "../../ipam/addresses/ip.ts";
import * as libc from "../netlink/libc.ts";
import type { Arena } from "./arena.ts";
import { complement, fold, type Sum } from "./checksum.ts";
import type { Counters } from "./counters.ts";
import type { IcmpErrors } from "./icmp.ts";
import {
  NOT_ECT,
  networkOrder,
  Packet,
  pseudoHeaderSum,
  sealIpv4Header,
  TCP,
  TCP_CHECKSUM,
  TCP_HEADER_BYTES,
  tcpHeaderLength,
  UDP,
  UDP_CHECKSUM,
  UDP_HEADER_BYTES,
} from "./packet.ts";
import type { IndexedPeer, PeerIndex } from "./peer-index.ts";
import type { SendBatch } from "./send-batch.ts";
import {
  GSO_ECN,
  GSO_NONE,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  VNET,
  VNET_BYTES,
  VNET_NEEDS_CHECKSUM,
} from "./vnet-header.ts";

/** This much is read before it is sent: more adds latency and gains nothing. */
const GATHER_BYTES = 32 << 10;
const MAX_PACKET_BYTES = 65_535;
const READ_BYTES = VNET_BYTES + MAX_PACKET_BYTES;
/** Headers of the segments of one gathering: each packet adds one for each `gso_size` of its payload. */
const HEADER_BYTES = 128;
const MAX_HEADERS = 1024;

/** RFC 9293 §3.1: flags of a TCP header, byte 13. */
const FIN = 0x01;
const PSH = 0x08;
const CWR = 0x80;

export interface OutboundParts {
  readonly arena: Arena;
  readonly sum: Sum;
  readonly tun: number;
  readonly peers: PeerIndex;
  readonly batches: Readonly<Partial<Record<Family, SendBatch>>>;
  readonly icmp: IcmpErrors;
  readonly counters: Counters;
}

export class Outbound {
  readonly #parts: OutboundParts;
  readonly #packet: Packet;
  readonly #buffer: number;
  readonly #headers: number;
  #headerCount = 0;

  constructor(parts: OutboundParts) {
    this.#parts = parts;
    this.#packet = new Packet(parts.arena, parts.sum);
    this.#buffer = parts.arena.reserve(GATHER_BYTES + READ_BYTES + 64);
    this.#headers = parts.arena.reserve(MAX_HEADERS * HEADER_BYTES);
  }

  /**
   * Sends what the device holds, up to one gathering. Returns the negated errno of the last read, which is EAGAIN when
   * the device is empty; 0 when it may hold more.
   */
  pump(): number {
    const { tun, arena } = this.#parts;
    // 2 modulo 4 puts the IP header on a multiple of 4.
    let at = this.#buffer + 2;
    let length = 0;
    while (at - this.#buffer < GATHER_BYTES) {
      length = libc.readAt(tun, arena.base + at, READ_BYTES);
      if (length <= 0) break;
      this.#take(at, length);
      at += (length + 3) & ~3;
    }
    this.#flush();
    return Math.min(length, 0);
  }

  #take(vnetAt: number, length: number): void {
    const { peers, icmp, counters } = this.#parts;
    const packet = this.#packet;
    if (!packet.parse(vnetAt + VNET_BYTES, length - VNET_BYTES)) {
      counters.add("malformed");
      return;
    }
    const peer = peers.ownerOf(packet.destinationAt, packet.family);
    if (peer === null || !(peer.address.family in this.#parts.batches)) {
      counters.add("unreachable");
      icmp.unreachable(packet);
    } else if (packet.hopLimit <= 1) {
      counters.add("expired");
      icmp.timeExceeded(packet);
    } else {
      packet.decrementHopLimit();
      this.#send(vnetAt, packet, peer);
    }
  }

  #send(vnetAt: number, packet: Packet, peer: IndexedPeer): void {
    const { view } = this.#parts.arena;
    const gsoType = view.getUint8(vnetAt + VNET.gsoType) & ~GSO_ECN;
    const segmentBytes = view.getUint16(vnetAt + VNET.gsoSize, true);
    const isTcp = gsoType === GSO_TCPV4 || gsoType === GSO_TCPV6;
    if (gsoType === GSO_NONE) {
      if (view.getUint8(vnetAt) & VNET_NEEDS_CHECKSUM && !this.#completeChecksum(vnetAt, packet)) {
        this.#parts.counters.add("malformed");
        return;
      }
      this.#batchOf(peer).addPacket(peer, ecnFor(packet, peer), packet.at, packet.length);
    } else if ((isTcp || gsoType === GSO_UDP_L4) && segmentBytes > 0) {
      this.#segment(vnetAt, packet, peer, isTcp ? TCP : UDP, segmentBytes);
    } else this.#parts.counters.add("malformed");
  }

  #batchOf(peer: IndexedPeer): SendBatch {
    return this.#parts.batches[peer.address.family] as SendBatch;
  }

  /** The field holds the pseudo header's sum (CHECKSUM_PARTIAL): adds the rest. False for a field outside the packet. */
  #completeChecksum(vnetAt: number, packet: Packet): boolean {
    const { arena, sum } = this.#parts;
    const start = arena.view.getUint16(vnetAt + VNET.checksumStart, true);
    const offset = arena.view.getUint16(vnetAt + VNET.checksumOffset, true);
    if (start < packet.headerLength || start + offset + 2 > packet.length) return false;
    const value = complement(sum(packet.at + start, packet.length - start));
    // RFC 768: zero means that the sender computed none.
    const isUdp = packet.protocol === UDP && offset === UDP_CHECKSUM;
    arena.view.setUint16(packet.at + start + offset, isUdp && value === 0 ? 0xffff : value, true);
    return true;
  }

  /** Cuts a packet whose payload is `segmentBytes` a piece, as the kernel would at the interface. */
  #segment(vnetAt: number, packet: Packet, peer: IndexedPeer, protocol: number, segmentBytes: number): void {
    const { arena, sum, counters } = this.#parts;
    // Behind IPv6 extension headers, if there are any.
    const ipLength = arena.view.getUint16(vnetAt + VNET.checksumStart, true);
    const transportLength = this.#transportLength(packet, ipLength, protocol);
    const headerLength = ipLength + transportLength;
    if (transportLength === 0 || headerLength > HEADER_BYTES || packet.isFragment) {
      counters.add("malformed");
      return;
    }
    const payloadAt = packet.at + headerLength;
    const payloadLength = packet.length - headerLength;
    const ecn = ecnFor(packet, peer);
    const checksumOffset = ipLength + (protocol === TCP ? TCP_CHECKSUM : UDP_CHECKSUM);
    arena.view.setUint16(packet.at + checksumOffset, 0);
    const common =
      pseudoHeaderSum(sum, packet.at, packet.family, protocol, 0) +
      sum(packet.at + ipLength, transportLength);
    const batch = this.#batchOf(peer);
    for (let done = 0, index = 0; done < payloadLength; done += segmentBytes, index++) {
      const size = Math.min(segmentBytes, payloadLength - done);
      const header = this.#copyHeader(packet.at, headerLength);
      this.#finishIp(header, packet, headerLength + size, index);
      const changed =
        protocol === TCP
          ? this.#finishTcp(header + ipLength, done, index === 0, done + size === payloadLength)
          : this.#finishUdp(header + ipLength, UDP_HEADER_BYTES + size);
      const total = common + changed + networkOrder(transportLength + size) + sum(payloadAt + done, size);
      const checksum = complement(fold(total));
      const stored = protocol === UDP && checksum === 0 ? 0xffff : checksum;
      arena.view.setUint16(header + checksumOffset, stored, true);
      batch.addSegment(peer, ecn, header, headerLength, payloadAt + done, size);
    }
  }

  /** Of the TCP or UDP header; 0 when the packet does not hold all of it. */
  #transportLength(packet: Packet, ipLength: number, protocol: number): number {
    const left = packet.length - ipLength;
    if (ipLength < packet.headerLength || left < UDP_HEADER_BYTES) return 0;
    if (protocol === UDP) return UDP_HEADER_BYTES;
    if (left < TCP_HEADER_BYTES) return 0;
    const length = tcpHeaderLength(this.#parts.arena, packet.at + ipLength);
    return length >= TCP_HEADER_BYTES && length <= left ? length : 0;
  }

  #copyHeader(from: number, length: number): number {
    if (this.#headerCount === MAX_HEADERS) this.#flush();
    const header = this.#headers + this.#headerCount++ * HEADER_BYTES;
    this.#parts.arena.bytes.copyWithin(header, from, from + length);
    return header;
  }

  #finishIp(header: number, packet: Packet, length: number, index: number): void {
    const { arena, sum } = this.#parts;
    if (packet.family === 6) {
      arena.view.setUint16(header + 4, length - packet.headerLength);
      return;
    }
    arena.view.setUint16(header + 2, length);
    arena.view.setUint16(header + 4, (arena.view.getUint16(header + 4) + index) & 0xffff);
    sealIpv4Header(arena, sum, header, packet.headerLength);
  }

  /**
   * The first segment alone tells of a reduced window, the last alone ends or pushes. Answers what the changes add to the
   * sum of the header (RFC 1624).
   */
  #finishTcp(transport: number, done: number, isFirst: boolean, isLast: boolean): number {
    const { view } = this.#parts.arena;
    const before = view.getUint32(transport + 4);
    const after = (before + done) >>> 0;
    view.setUint32(transport + 4, after);
    const flags = view.getUint8(transport + 13);
    let kept = flags;
    if (!isFirst) kept &= ~CWR;
    if (!isLast) kept &= ~(FIN | PSH);
    view.setUint8(transport + 13, kept);
    return (
      networkOrder(after >>> 16) +
      networkOrder(after & 0xffff) +
      networkOrder(~before >>> 16) +
      networkOrder(~before & 0xffff) +
      networkOrder(kept) +
      networkOrder(~flags & 0xffff)
    );
  }

  /** As #finishTcp. */
  #finishUdp(transport: number, length: number): number {
    const { view } = this.#parts.arena;
    const before = view.getUint16(transport + 4);
    view.setUint16(transport + 4, length);
    return networkOrder(length) + networkOrder(~before & 0xffff);
  }

  #flush(): void {
    for (const batch of Object.values(this.#parts.batches)) batch?.flush();
    this.#headerCount = 0;
  }
}

/** RFC 6040 §4.3: the outer header carries the inner mark only where the other end brings it back in. */
function ecnFor(packet: Packet, peer: IndexedPeer): number {
  return peer.isFast ? packet.ecn : NOT_ECT;
}
