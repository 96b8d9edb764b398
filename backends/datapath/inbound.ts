/**
 * From the peers to the TUN device: receives datagrams in batches, drops what no peer may have sent, and hands the
 * packets inside to the kernel, TCP segments merged.
 */

import type { Family } from "../../ipam/addresses/ip.ts";
import { EINTR } from "../netlink/errors.ts";
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
import type { Sum } from "./checksum.ts";
import type { Counters } from "./counters.ts";
import { CE, ECT_1, NOT_ECT, Packet } from "./packet.ts";
import { decodePathProbe } from "./path-probe.ts";
import type { IndexedPeer, PeerIndex } from "./peer-index.ts";
import { TcpRuns } from "./tcp-runs.ts";
import { IP_TOS, IPV6_TCLASS, SOL_UDP, UDP_GRO } from "./udp-socket.ts";
import { VNET_BYTES } from "./vnet-header.ts";

const SLOTS = 32;
/** The largest datagram, also of several that the kernel merged (UDP_GRO). */
const SLOT_BYTES = 65_536;
const NAME_BYTES = 28;
/** UDP_GRO and the traffic class. */
const CONTROL_BYTES = 2 * CMSG_SPACE;
/** Where the address is in struct sockaddr_in and sockaddr_in6. */
const ADDRESS_OFFSET: Readonly<Record<Family, number>> = { 4: 4, 6: 8 };

export interface InboundParts {
  readonly arena: Arena;
  readonly sum: Sum;
  readonly tun: number;
  readonly peers: PeerIndex;
  readonly counters: Counters;
  /** A peer answered a probe. */
  readonly onAnswer: (nonce: string, sender: IndexedPeer) => void;
}

export class Inbound {
  readonly #parts: InboundParts;
  readonly #packet: Packet;
  readonly #runs: TcpRuns;
  readonly #headers: number;
  readonly #names: number;
  readonly #controls: number;
  readonly #slots: number;
  readonly #vnet: number;
  readonly #iovecs: number;
  /** Control data of the message at hand. */
  #segmentBytes = 0;
  #outerEcn = NOT_ECT;
  /** Where the batch at hand came from. */
  #socket = -1;
  /** Of the batch at hand. */
  #packets = 0;
  #bytes = 0;

  constructor(parts: InboundParts) {
    const { arena, sum } = parts;
    this.#parts = parts;
    this.#packet = new Packet(arena, sum);
    this.#runs = new TcpRuns(arena, sum, (iovecs, count) => this.#write(iovecs, count));
    this.#headers = arena.reserve(SLOTS * MMSGHDR_BYTES);
    this.#names = arena.reserve(SLOTS * NAME_BYTES);
    this.#controls = arena.reserve(SLOTS * CONTROL_BYTES);
    this.#slots = arena.reserve(SLOTS * SLOT_BYTES);
    this.#vnet = arena.reserve(VNET_BYTES);
    this.#iovecs = arena.reserve(2 * IOVEC_BYTES);
    arena.iovec(this.#iovecs, this.#vnet, VNET_BYTES);
    const slotIovecs = arena.reserve(SLOTS * IOVEC_BYTES);
    for (let slot = 0; slot < SLOTS; slot++) {
      const header = this.#headers + slot * MMSGHDR_BYTES;
      arena.iovec(slotIovecs + slot * IOVEC_BYTES, this.#slots + slot * SLOT_BYTES, SLOT_BYTES);
      arena.pointer(header + MSG.name, this.#names + slot * NAME_BYTES);
      arena.pointer(header + MSG.iov, slotIovecs + slot * IOVEC_BYTES);
      arena.size(header + MSG.iovLength, 1);
      arena.pointer(header + MSG.control, this.#controls + slot * CONTROL_BYTES);
    }
  }

  /** Receives one batch. Returns true when the socket may hold more. */
  pump(socket: number, family: Family): boolean {
    const { arena } = this.#parts;
    this.#socket = socket;
    for (let slot = 0; slot < SLOTS; slot++) {
      const header = this.#headers + slot * MMSGHDR_BYTES;
      arena.view.setUint32(header + MSG.nameLength, NAME_BYTES, true);
      arena.size(header + MSG.controlLength, CONTROL_BYTES);
    }
    const received = libc.recvmmsgAt(socket, arena.base + this.#headers, SLOTS, 0);
    // EAGAIN, or a queued error of an earlier datagram that this call has taken off the socket.
    if (received <= 0) return received === -EINTR;
    for (let slot = 0; slot < received; slot++) this.#takeMessage(slot, family);
    this.#runs.flush();
    this.#count();
    return received === SLOTS;
  }

  #count(): void {
    const { counters } = this.#parts;
    counters.add("receivedPackets", this.#packets);
    counters.add("receivedBytes", this.#bytes);
    this.#packets = 0;
    this.#bytes = 0;
  }

  #takeMessage(slot: number, family: Family): void {
    const { arena, peers, counters } = this.#parts;
    const length = arena.view.getUint32(this.#headers + slot * MMSGHDR_BYTES + MMSG_LENGTH, true);
    this.#readControl(slot);
    const segmentBytes = this.#segmentBytes || length;
    const sender = peers.senderAt(this.#names + slot * NAME_BYTES + ADDRESS_OFFSET[family], family);
    if (sender === null) {
      counters.add("strangers", Math.max(1, Math.ceil(length / Math.max(1, segmentBytes))));
      return;
    }
    const start = this.#slots + slot * SLOT_BYTES;
    if (length === 0) counters.add("malformed");
    for (let done = 0; done < length; done += segmentBytes)
      this.#takeDatagram(start + done, Math.min(segmentBytes, length - done), sender);
  }

  #readControl(slot: number): void {
    const { view } = this.#parts.arena;
    this.#segmentBytes = 0;
    this.#outerEcn = NOT_ECT;
    const end = view.getUint32(this.#headers + slot * MMSGHDR_BYTES + MSG.controlLength, true);
    for (let done = 0; done + CMSG_HEADER_BYTES < end; done += CMSG_SPACE) {
      const at = this.#controls + slot * CONTROL_BYTES + done;
      const level = view.getInt32(at + 8, true);
      const type = view.getInt32(at + 12, true);
      const data = at + CMSG_HEADER_BYTES;
      if (level === SOL_UDP && type === UDP_GRO) this.#segmentBytes = view.getInt32(data, true);
      // IP_TOS is one byte, IPV6_TCLASS an int (ip(7), RFC 3542 §6.5); the low byte is the same.
      else if ((level === SOL_IP && type === IP_TOS) || (level === SOL_IPV6 && type === IPV6_TCLASS))
        this.#outerEcn = view.getUint8(data) & CE;
    }
  }

  #takeDatagram(at: number, length: number, sender: IndexedPeer): void {
    const { peers, counters } = this.#parts;
    const packet = this.#packet;
    if (!packet.parse(at, length) || !packet.isHeaderIntact) {
      if (!this.#takeProbe(at, length, sender)) counters.add("malformed");
      return;
    }
    const { family, sourceAt, destinationAt } = packet;
    if (peers.ownerOf(sourceAt, family) !== sender || !peers.isOwn(destinationAt, family)) {
      counters.add("forged");
      return;
    }
    if (!this.#copyCongestion(packet)) {
      counters.add("congested");
      return;
    }
    this.#packets += 1;
    this.#bytes += packet.length;
    if (!this.#runs.take(packet)) this.#writeSingle(packet);
  }

  /** False for what is none. */
  #takeProbe(at: number, length: number, sender: IndexedPeer): boolean {
    const { arena, counters, onAnswer } = this.#parts;
    const probe = decodePathProbe(Buffer.from(arena.bytes.slice(at, at + length).buffer));
    if (probe === null) return false;
    if (probe.type === "answer") onAnswer(probe.nonce, sender);
    else if (libc.sendto(this.#socket, probe.answer, 0, sender.socketAddress) < 0) counters.add("sendErrors");
    return true;
  }

  /** RFC 6040 §4.2. False for a packet that must be dropped: congestion that its transport would never learn of. */
  #copyCongestion(packet: Packet): boolean {
    const outer = this.#outerEcn;
    if (outer !== CE && outer !== ECT_1) return true;
    const inner = packet.ecn;
    if (inner === NOT_ECT) return outer !== CE;
    if (inner !== CE && inner !== outer) packet.ecn = outer;
    return true;
  }

  #writeSingle(packet: Packet): void {
    const { arena } = this.#parts;
    arena.bytes.fill(0, this.#vnet, this.#vnet + VNET_BYTES);
    arena.iovec(this.#iovecs + IOVEC_BYTES, packet.at, packet.length);
    this.#write(this.#iovecs, 2);
  }

  #write(iovecs: number, count: number): void {
    const { arena, tun, counters } = this.#parts;
    const written = libc.writevAt(tun, arena.base + iovecs, count);
    // EIO while the device is down: lost like on any link that is down.
    if (written < 0) counters.add("deliveryErrors", count - 1);
  }
}
