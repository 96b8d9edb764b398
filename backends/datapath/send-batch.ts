/**
 * Datagrams on their way to one socket, sent with as few system calls as the kernel allows: one sendmmsg(2) for all,
 * and one message for consecutive datagrams of equal size to one peer (UDP_SEGMENT, udp(7)).
 *
 * A datagram is one or two pieces of the arena, referenced and never copied.
 */

import { EAGAIN, EINTR, EINVAL, EIO, EMSGSIZE } from "../netlink/errors.ts";
import * as libc from "../netlink/libc.ts";
import { SOL_IP, SOL_IPV6 } from "../netlink/socket-constants.ts";
import {
  type Arena,
  CMSG_HEADER_BYTES,
  CMSG_SPACE,
  IOVEC_BYTES,
  MMSG_LENGTH,
  MMSGHDR_BYTES,
  MSG,
} from "./arena.ts";
import type { Counters } from "./counters.ts";
import type { IndexedPeer } from "./peer-index.ts";
import { IP_TOS, IPV6_TCLASS, SOL_UDP, UDP_SEGMENT } from "./udp-socket.ts";

const MAX_MESSAGES = 128;
const MAX_PIECES = 4096;
/** Linux before 6.9 allows 64 (UDP_MAX_SEGMENTS). */
const MAX_SEGMENTS = 64;
/** The largest IPv4 datagram's payload; IPv6's is a little larger. */
const MAX_MESSAGE_BYTES = 65_507;
const NAME_BYTES = 28;

/** What flannel's proxy, which reads one datagram at a time, was measured to take for one. */
const SLOW_PEER_MS_PER_DATAGRAM = 0.009;
/** A burst that its receive buffer holds. */
const SLOW_PEER_BURST = 8;

/** linux/poll.h */
const POLLOUT = 4;
const SEND_ATTEMPTS = 20;

/** Room to send and the time to wait for it belong to the loop. */
export interface Pauses {
  /** Waits until the socket takes more, for a millisecond at most. */
  untilWritable(fd: number, events: number): void;
  /** Does other work for this long. */
  forMs(duration: number): void;
}

interface Message {
  peer: IndexedPeer | null;
  ecn: number;
  /** Bytes of each datagram but the last, which may be shorter. */
  segmentBytes: number;
  bytes: number;
  segments: number;
  firstPiece: number;
  piecesPerSegment: number;
  /** A shorter datagram ends a message. */
  isClosed: boolean;
}

export class SendBatch {
  readonly #arena: Arena;
  readonly #fd: number;
  readonly #counters: Counters;
  readonly #pauses: Pauses;
  readonly #headers: number;
  readonly #names: number;
  readonly #controls: number;
  readonly #pieces: number;
  readonly #messages: Message[];
  #count = 0;
  #pieceCount = 0;
  /** False once the kernel refused to segment: it is too old, or the interface computes no checksums. */
  #canSegment = true;

  constructor(arena: Arena, fd: number, counters: Counters, pauses: Pauses) {
    this.#arena = arena;
    this.#fd = fd;
    this.#counters = counters;
    this.#pauses = pauses;
    this.#headers = arena.reserve(MAX_MESSAGES * MMSGHDR_BYTES);
    this.#names = arena.reserve(MAX_MESSAGES * NAME_BYTES);
    this.#controls = arena.reserve(MAX_MESSAGES * 2 * CMSG_SPACE);
    this.#pieces = arena.reserve(MAX_PIECES * IOVEC_BYTES);
    this.#messages = Array.from({ length: MAX_MESSAGES }, emptyMessage);
    for (let index = 0; index < MAX_MESSAGES; index++) {
      const header = this.#headers + index * MMSGHDR_BYTES;
      arena.pointer(header + MSG.name, this.#names + index * NAME_BYTES);
      arena.pointer(header + MSG.control, this.#controls + index * 2 * CMSG_SPACE);
    }
  }

  /** Adds a datagram of one piece. */
  addPacket(peer: IndexedPeer, ecn: number, at: number, length: number): void {
    this.#open(peer, ecn, length, 1);
    this.#piece(at, length);
  }

  /** Adds a datagram of a header and a payload from elsewhere. */
  addSegment(
    peer: IndexedPeer,
    ecn: number,
    headerAt: number,
    headerLength: number,
    payloadAt: number,
    payloadLength: number,
  ): void {
    this.#open(peer, ecn, headerLength + payloadLength, 2);
    this.#piece(headerAt, headerLength);
    this.#piece(payloadAt, payloadLength);
  }

  /** Sends all; the pieces may be overwritten afterwards. What the kernel does not take is counted as dropped. */
  flush(): void {
    for (let index = 0; index < this.#count; index++) this.#seal(index);
    let next = 0;
    while (next < this.#count) next = this.#sendFrom(next);
    this.#count = 0;
    this.#pieceCount = 0;
  }

  /** Makes room for a datagram in the last message, or begins a new one. */
  #open(peer: IndexedPeer, ecn: number, length: number, pieces: number): void {
    const last = this.#count === 0 ? null : this.#messages[this.#count - 1];
    if (last && this.#fits(last, peer, ecn, length, pieces)) {
      last.bytes += length;
      last.segments += 1;
      last.isClosed = length < last.segmentBytes;
      return;
    }
    if (this.#count === MAX_MESSAGES || this.#pieceCount + 2 > MAX_PIECES) this.flush();
    const message = this.#messages[this.#count++] as Message;
    message.peer = peer;
    message.ecn = ecn;
    message.segmentBytes = length;
    message.bytes = length;
    message.segments = 1;
    message.firstPiece = this.#pieceCount;
    message.piecesPerSegment = pieces;
    message.isClosed = false;
  }

  #fits(last: Message, peer: IndexedPeer, ecn: number, length: number, pieces: number): boolean {
    const mostSegments = peer.isFast ? MAX_SEGMENTS : SLOW_PEER_BURST;
    return (
      this.#canSegment &&
      last.peer === peer &&
      last.ecn === ecn &&
      last.piecesPerSegment === pieces &&
      !last.isClosed &&
      length <= last.segmentBytes &&
      last.segments < mostSegments &&
      last.bytes + length <= MAX_MESSAGE_BYTES &&
      this.#pieceCount + pieces <= MAX_PIECES
    );
  }

  #piece(at: number, length: number): void {
    this.#arena.iovec(this.#pieces + this.#pieceCount * IOVEC_BYTES, at, length);
    this.#pieceCount += 1;
  }

  /** Writes the kernel's structures for a message that is complete. */
  #seal(index: number): void {
    const message = this.#messages[index] as Message;
    this.#write(index, message.firstPiece, message.segments, message.segments > 1);
  }

  #write(index: number, firstPiece: number, segments: number, asSegments: boolean): void {
    const { peer, ecn, piecesPerSegment, segmentBytes } = this.#messages[index] as Message;
    if (peer === null) return;
    const arena = this.#arena;
    const header = this.#headers + index * MMSGHDR_BYTES;
    arena.bytes.set(peer.socketAddress, this.#names + index * NAME_BYTES);
    arena.view.setUint32(header + MSG.nameLength, peer.socketAddress.length, true);
    arena.pointer(header + MSG.iov, this.#pieces + firstPiece * IOVEC_BYTES);
    arena.size(header + MSG.iovLength, segments * piecesPerSegment);
    let control = this.#controls + index * 2 * CMSG_SPACE;
    const start = control;
    if (asSegments) {
      this.#control(control, SOL_UDP, UDP_SEGMENT, 2);
      arena.view.setUint16(control + CMSG_HEADER_BYTES, segmentBytes, true);
      control += CMSG_SPACE;
    }
    if (ecn !== 0) {
      const isIpv4 = peer.address.family === 4;
      this.#control(control, isIpv4 ? SOL_IP : SOL_IPV6, isIpv4 ? IP_TOS : IPV6_TCLASS, 4);
      arena.view.setUint32(control + CMSG_HEADER_BYTES, ecn, true);
      control += CMSG_SPACE;
    }
    arena.size(header + MSG.controlLength, control - start);
  }

  #control(at: number, level: number, type: number, length: number): void {
    const { view } = this.#arena;
    this.#arena.size(at, CMSG_HEADER_BYTES + length);
    view.setInt32(at + 8, level, true);
    view.setInt32(at + 12, type, true);
  }

  /** Sends as many messages as the kernel takes at once and returns the next one to send. */
  #sendFrom(first: number): number {
    const isSlow = this.#isSlow(first);
    const end = isSlow ? first + 1 : this.#endOfFastRun(first);
    const sent = this.#send(first, end - first);
    if (sent === -EINTR) return first;
    if (sent <= 0) return this.#handleFailure(first, -sent);
    for (let index = first; index < first + sent; index++) this.#countSent(index);
    if (isSlow) {
      const { segments } = this.#messages[first] as Message;
      this.#pauses.forMs(segments * SLOW_PEER_MS_PER_DATAGRAM);
    }
    return first + sent;
  }

  #isSlow(index: number): boolean {
    return this.#messages[index]?.peer?.isFast === false;
  }

  #endOfFastRun(first: number): number {
    let end = first + 1;
    while (end < this.#count && !this.#isSlow(end)) end += 1;
    return end;
  }

  /** sendmmsg(2), after waits while the queue is full: how many messages were sent, or the negated errno. */
  #send(first: number, count: number): number {
    const at = this.#arena.base + this.#headers + first * MMSGHDR_BYTES;
    for (let attempt = 1; ; attempt++) {
      const sent = libc.sendmmsgAt(this.#fd, at, count, 0);
      if (sent !== -EAGAIN || attempt === SEND_ATTEMPTS) return sent;
      this.#pauses.untilWritable(this.#fd, POLLOUT);
    }
  }

  /** The error concerns the first message alone. */
  #handleFailure(index: number, errno: number): number {
    const message = this.#messages[index] as Message;
    const isSegmented = message.segments > 1;
    if (isSegmented && (errno === EINVAL || errno === EIO)) this.#canSegment = false;
    // A segment above the path's MTU is refused; alone, the kernel fragments it.
    if (isSegmented && (errno === EMSGSIZE || !this.#canSegment)) this.#sendSingly(index);
    else this.#counters.add("sendErrors", message.segments);
    return index + 1;
  }

  #sendSingly(index: number): void {
    const { firstPiece, piecesPerSegment, segments } = this.#messages[index] as Message;
    for (let segment = 0; segment < segments; segment++) {
      this.#write(index, firstPiece + segment * piecesPerSegment, 1, false);
      if (this.#send(index, 1) === 1) this.#countBytes(1, this.#sentLength(index));
      else this.#counters.add("sendErrors");
    }
  }

  #countSent(index: number): void {
    this.#countBytes(this.#messages[index]?.segments ?? 0, this.#sentLength(index));
  }

  #sentLength(index: number): number {
    return this.#arena.view.getUint32(this.#headers + index * MMSGHDR_BYTES + MMSG_LENGTH, true);
  }

  #countBytes(packets: number, bytes: number): void {
    this.#counters.add("sentPackets", packets);
    this.#counters.add("sentBytes", bytes);
  }
}

function emptyMessage(): Message {
  return {
    peer: null,
    ecn: 0,
    segmentBytes: 0,
    bytes: 0,
    segments: 0,
    firstPiece: 0,
    piecesPerSegment: 1,
    isClosed: false,
  };
}
