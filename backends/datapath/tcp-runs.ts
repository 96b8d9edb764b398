/**
 * From single TCP segments to super-packets for the TUN device: consecutive segments of one connection become one
 * packet of up to 64 KiB, which the kernel takes in one pass (generic receive offload in user space).
 *
 * The kernel trusts the checksums of a super-packet, so each segment's is verified before. The order within a
 * connection stays; packets of different connections may overtake each other within one batch.
 */

import { type Arena, IOVEC_BYTES } from "./arena.ts";
import { fold, type Sum } from "./checksum.ts";
import {
  IPV4_HEADER_BYTES,
  networkOrder,
  type Packet,
  pseudoHeaderSum,
  sealIpv4Header,
  TCP,
  TCP_CHECKSUM,
  TCP_HEADER_BYTES,
  tcpHeaderLength,
} from "./packet.ts";
import { GSO_TCPV4, GSO_TCPV6, VNET, VNET_BYTES, VNET_NEEDS_CHECKSUM } from "./vnet-header.ts";

/** Connections at a time; a batch rarely has more. */
const MAX_RUNS = 8;
/** Pieces of one run: 64 KiB in segments of 512 bytes. */
const MAX_PIECES = 128;
const MAX_PACKET_BYTES = 65_535;

/** RFC 9293 §3.1: flags of a TCP header, byte 13. */
const PSH = 0x08;
const ACK = 0x10;
/** RFC 791: don't fragment. */
const DF = 0x4000;

/** Writes iovecs that begin with a struct virtio_net_hdr, as one packet. */
export type WritePacket = (iovecs: number, count: number) => void;

interface Run {
  isOpen: boolean;
  family: 4 | 6;
  /** Offset of the first segment. */
  at: number;
  ipLength: number;
  tcpLength: number;
  /** Payload of each segment but the last, which may be shorter. */
  segmentBytes: number;
  payloadBytes: number;
  segments: number;
  nextSequence: number;
  /** A shorter segment, or one with PSH, ends the run. */
  isClosed: boolean;
  readonly vnet: number;
  readonly iovecs: number;
}

export class TcpRuns {
  readonly #arena: Arena;
  readonly #sum: Sum;
  readonly #write: WritePacket;
  readonly #runs: readonly Run[];

  constructor(arena: Arena, sum: Sum, write: WritePacket) {
    this.#arena = arena;
    this.#sum = sum;
    this.#write = write;
    this.#runs = Array.from({ length: MAX_RUNS }, () => ({
      isOpen: false,
      family: 4,
      at: 0,
      ipLength: 0,
      tcpLength: 0,
      segmentBytes: 0,
      payloadBytes: 0,
      segments: 0,
      nextSequence: 0,
      isClosed: false,
      vnet: arena.reserve(VNET_BYTES),
      iovecs: arena.reserve((MAX_PIECES + 1) * IOVEC_BYTES),
    }));
  }

  /**
   * Takes a packet into a run, where its bytes must stay until flush(). False when the caller must write it, which it
   * may then do at once: what precedes it in its connection is written.
   */
  take(packet: Packet): boolean {
    const { view } = this.#arena;
    if (packet.protocol !== TCP || packet.isFragment) return false;
    if (packet.length < packet.headerLength + TCP_HEADER_BYTES) return false;
    const run = this.#runOf(packet);
    const tcp = packet.at + packet.headerLength;
    const tcpLength = tcpHeaderLength(this.#arena, tcp);
    const payloadBytes = packet.length - packet.headerLength - tcpLength;
    const flags = view.getUint8(tcp + 13);
    const isMergeable =
      payloadBytes > 0 &&
      tcpLength >= TCP_HEADER_BYTES &&
      (flags & ~PSH) === ACK &&
      (packet.family === 6 || packet.headerLength === IPV4_HEADER_BYTES) &&
      this.#isIntact(packet, tcp);
    if (run !== null && isMergeable && this.#continues(run, packet, tcpLength, payloadBytes)) {
      this.#append(run, tcp + tcpLength, payloadBytes, (flags & PSH) !== 0);
      return true;
    }
    if (run !== null) this.#finish(run);
    if (!isMergeable || (flags & PSH) !== 0) return false;
    this.#begin(run ?? this.#freeRun(), packet, tcpLength, payloadBytes);
    return true;
  }

  /** Writes all runs. */
  flush(): void {
    for (const run of this.#runs) if (run.isOpen) this.#finish(run);
  }

  /** Of a packet without IP options. */
  #isIntact(packet: Packet, tcp: number): boolean {
    const length = packet.length - packet.headerLength;
    // The addresses of the pseudo header are just before the segment: one sum covers both.
    const addresses = packet.family === 4 ? 8 : 32;
    const total = this.#sum(tcp - addresses, addresses + length) + networkOrder(TCP) + networkOrder(length);
    return fold(total) === 0xffff;
  }

  /** The run of the packet's connection. */
  #runOf(packet: Packet): Run | null {
    const tcp = packet.at + packet.headerLength;
    for (const run of this.#runs) {
      if (!run.isOpen || run.family !== packet.family) continue;
      const first = run.at + run.ipLength;
      if (!this.#isSameWord(first, tcp)) continue;
      const isIpv4 = packet.family === 4;
      const addresses = isIpv4 ? 12 : 8;
      if (this.#isSameWords(run.at + addresses, packet.at + addresses, isIpv4 ? 2 : 8)) return run;
    }
    return null;
  }

  #continues(run: Run, packet: Packet, tcpLength: number, payloadBytes: number): boolean {
    const { view } = this.#arena;
    const [first, tcp] = [run.at + run.ipLength, packet.at + packet.headerLength];
    return (
      !run.isClosed &&
      view.getUint32(tcp + 4) === run.nextSequence &&
      payloadBytes <= run.segmentBytes &&
      tcpLength === run.tcpLength &&
      run.segments < MAX_PIECES - 1 &&
      run.ipLength + run.tcpLength + run.payloadBytes + payloadBytes <= MAX_PACKET_BYTES &&
      this.#isSameIpHeader(run, packet) &&
      this.#isSameWord(first + 8, tcp + 8) &&
      view.getUint16(first + 14) === view.getUint16(tcp + 14) &&
      // The urgent pointer and the options.
      view.getUint16(first + 18) === view.getUint16(tcp + 18) &&
      this.#isSameWords(first + TCP_HEADER_BYTES, tcp + TCP_HEADER_BYTES, (tcpLength - TCP_HEADER_BYTES) / 4)
    );
  }

  /** All but lengths, checksums and the addresses, which are compared before. */
  #isSameIpHeader(run: Run, { at, family }: Packet): boolean {
    const { view } = this.#arena;
    if (family === 6)
      return this.#isSameWord(run.at, at) && view.getUint16(run.at + 6) === view.getUint16(at + 6);
    const fragment = view.getUint16(at + 6);
    // RFC 6864 §4.1: with don't-fragment the identification says nothing.
    const isNext = view.getUint16(at + 4) === ((view.getUint16(run.at + 4) + run.segments) & 0xffff);
    return (
      view.getUint16(run.at) === view.getUint16(at) &&
      view.getUint16(run.at + 6) === fragment &&
      view.getUint16(run.at + 8) === view.getUint16(at + 8) &&
      ((fragment & DF) !== 0 || isNext)
    );
  }

  #begin(run: Run, packet: Packet, tcpLength: number, payloadBytes: number): void {
    run.isOpen = true;
    run.family = packet.family;
    run.at = packet.at;
    run.ipLength = packet.headerLength;
    run.tcpLength = tcpLength;
    run.segmentBytes = payloadBytes;
    run.payloadBytes = 0;
    run.segments = 0;
    run.nextSequence = this.#arena.view.getUint32(packet.at + packet.headerLength + 4);
    run.isClosed = false;
    this.#arena.iovec(run.iovecs, run.vnet, VNET_BYTES);
    this.#append(run, packet.at + packet.headerLength + tcpLength, payloadBytes, false);
    // The first piece has the headers too.
    this.#arena.iovec(run.iovecs + IOVEC_BYTES, packet.at, packet.length);
  }

  #append(run: Run, payloadAt: number, payloadBytes: number, isPushed: boolean): void {
    run.segments += 1;
    this.#arena.iovec(run.iovecs + run.segments * IOVEC_BYTES, payloadAt, payloadBytes);
    run.payloadBytes += payloadBytes;
    run.nextSequence = (run.nextSequence + payloadBytes) >>> 0;
    run.isClosed = isPushed || payloadBytes < run.segmentBytes;
    if (!isPushed) return;
    const flagsAt = run.at + run.ipLength + 13;
    this.#arena.view.setUint8(flagsAt, this.#arena.view.getUint8(flagsAt) | PSH);
  }

  #freeRun(): Run {
    const free = this.#runs.find(({ isOpen }) => !isOpen);
    if (free !== undefined) return free;
    this.flush();
    return this.#runs[0] as Run;
  }

  #finish(run: Run): void {
    run.isOpen = false;
    const { bytes } = this.#arena;
    bytes.fill(0, run.vnet, run.vnet + VNET_BYTES);
    if (run.segments > 1) this.#seal(run);
    this.#write(run.iovecs, run.segments + 1);
  }

  /** Lengths, checksums and the offload's header of a super-packet. */
  #seal(run: Run): void {
    const { view } = this.#arena;
    const tcpBytes = run.tcpLength + run.payloadBytes;
    if (run.family === 4) {
      view.setUint16(run.at + 2, run.ipLength + tcpBytes);
      sealIpv4Header(this.#arena, this.#sum, run.at, run.ipLength);
    } else view.setUint16(run.at + 4, tcpBytes);
    // CHECKSUM_PARTIAL: the pseudo header's sum, not complemented; the kernel adds the rest where it is needed.
    const pseudo = pseudoHeaderSum(this.#sum, run.at, run.family, TCP, tcpBytes);
    view.setUint16(run.at + run.ipLength + TCP_CHECKSUM, pseudo, true);
    view.setUint8(run.vnet + VNET.flags, VNET_NEEDS_CHECKSUM);
    view.setUint8(run.vnet + VNET.gsoType, run.family === 4 ? GSO_TCPV4 : GSO_TCPV6);
    view.setUint16(run.vnet + VNET.headerLength, run.ipLength + run.tcpLength, true);
    view.setUint16(run.vnet + VNET.gsoSize, run.segmentBytes, true);
    view.setUint16(run.vnet + VNET.checksumStart, run.ipLength, true);
    view.setUint16(run.vnet + VNET.checksumOffset, TCP_CHECKSUM, true);
  }

  #isSameWord(a: number, b: number): boolean {
    return this.#arena.view.getUint32(a) === this.#arena.view.getUint32(b);
  }

  #isSameWords(a: number, b: number, words: number): boolean {
    for (let word = 0; word < words; word++) {
      if (!this.#isSameWord(a + word * 4, b + word * 4)) return false;
    }
    return true;
  }
}
