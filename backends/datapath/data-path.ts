/**
 * The data path of one network: the loop that moves packets between the TUN device and the sockets.
 *
 * The loop blocks its thread in poll(2) and never returns to an event loop: it runs in a thread of its own.
 */

import type { Address } from "../../ipam/addresses/ip.ts";
import { check, EAGAIN, EINTR, EIO, NetlinkError } from "../netlink/errors.ts";
import * as libc from "../netlink/libc.ts";
import { Arena } from "./arena.ts";
import { compileSum } from "./checksum.ts";
import type { Counters } from "./counters.ts";
import { IcmpErrors } from "./icmp.ts";
import { Inbound } from "./inbound.ts";
import { Outbound } from "./outbound.ts";
import type { PathFiles } from "./path-files.ts";
import { encodeRequest } from "./path-probe.ts";
import { PeerIndex } from "./peer-index.ts";
import { SendBatch } from "./send-batch.ts";

const ARENA_BYTES = 4 << 20;

/** struct pollfd: descriptor i32, events i16, answers i16. */
const POLLFD_BYTES = 8;
/** linux/poll.h */
const POLLIN = 1;
/** A process that ends while this thread waits can end the thread only between two waits. */
const WAIT_MS = 250;
const SEND_WAIT_MS = 1;

export interface DataPathOptions {
  /** They are closed by the caller. */
  readonly files: PathFiles;
  /** Ends run() when it is readable. */
  readonly wakeFd: number;
  readonly counters: Counters;
  readonly nowMs: () => number;
  /** The peer with this address answered a probe. */
  readonly onAnswer: (nonce: string, address: Address) => void;
}

export class DataPath {
  readonly peers: PeerIndex;
  readonly #arena: Arena;
  readonly #counters: Counters;
  readonly #nowMs: () => number;
  readonly #files: PathFiles;
  readonly #outbound: Outbound;
  readonly #inbound: Inbound;
  readonly #polls: number;
  readonly #sendPoll: number;

  constructor({ files, wakeFd, counters, nowMs, onAnswer }: DataPathOptions) {
    this.#arena = new Arena(ARENA_BYTES);
    this.#counters = counters;
    this.#nowMs = nowMs;
    this.peers = new PeerIndex(this.#arena);
    this.#files = files;
    const parts = { ...this.#parts(), peers: this.peers };
    this.#inbound = new Inbound({ ...parts, onAnswer: (nonce, { address }) => onAnswer(nonce, address) });
    this.#outbound = new Outbound({
      ...parts,
      batches: Object.fromEntries(this.#sockets.map(({ fd, family }) => [family, this.#batch(fd)])),
      icmp: new IcmpErrors({ ...parts, nowMs, own: this.peers }),
    });
    this.#polls = this.#arena.reserve((2 + this.#sockets.length) * POLLFD_BYTES);
    this.#sendPoll = this.#arena.reserve(POLLFD_BYTES);
    [wakeFd, this.#files.tun.fd, ...this.#sockets.map(({ fd }) => fd)].forEach((fd, index) => {
      this.#setPoll(this.#polls + index * POLLFD_BYTES, fd, POLLIN);
    });
  }

  /** Moves packets until the wake-up descriptor is readable. Throws NetlinkError when the device is gone. */
  run(): void {
    const at = this.#arena.base + this.#polls;
    const count = 2 + this.#sockets.length;
    for (;;) {
      const ready = libc.poll(at, count, WAIT_MS);
      if (ready === 0 || ready === -EINTR) continue;
      check("poll", ready);
      if (this.#answer(0) !== 0) return;
      if (this.#answer(1) !== 0) this.#send();
      this.#sockets.forEach(({ fd, family }, index) => {
        if (this.#answer(2 + index) !== 0) this.#inbound.pump(fd, family);
      });
    }
  }

  /** Sends a probe to the peer with this id: see path-probe.ts. One that cannot be sent counts as a send error. */
  probe(id: string, nonce: string, bytes: number): void {
    const peer = this.peers.get(id);
    const socket = this.#sockets.find(({ family }) => family === peer?.address.family);
    if (peer === null || socket === undefined) return;
    const sent = libc.sendto(socket.fd, encodeRequest(nonce, bytes), 0, peer.socketAddress);
    if (sent < 0) this.#counters.add("sendErrors");
  }

  get #sockets(): PathFiles["sockets"] {
    return this.#files.sockets;
  }

  #parts() {
    const arena = this.#arena;
    return { arena, sum: compileSum(arena.memory), tun: this.#files.tun.fd, counters: this.#counters };
  }

  #send(): void {
    const result = this.#outbound.pump();
    const isAlive = result === 0 || result === -EAGAIN || result === -EINTR || result === -EIO;
    if (!isAlive) throw new NetlinkError("read the TUN device", -result, { retryable: true });
  }

  #batch(fd: number): SendBatch {
    return new SendBatch(this.#arena, fd, this.#counters, {
      untilWritable: (socket, events) => {
        this.#setPoll(this.#sendPoll, socket, events);
        libc.poll(this.#arena.base + this.#sendPoll, 1, SEND_WAIT_MS);
      },
      forMs: (duration) => this.#receiveFor(duration),
    });
  }

  /** Receives for a while. Between two packets of a slow peer there is time for it. */
  #receiveFor(durationMs: number): void {
    const endMs = this.#nowMs() + durationMs;
    do {
      for (const { fd, family } of this.#sockets) this.#inbound.pump(fd, family);
    } while (this.#nowMs() < endMs);
  }

  #answer(index: number): number {
    return this.#arena.view.getInt16(this.#polls + index * POLLFD_BYTES + 6, true);
  }

  #setPoll(at: number, fd: number, events: number): void {
    this.#arena.view.setInt32(at, fd, true);
    this.#arena.view.setInt16(at + 4, events, true);
    this.#arena.view.setInt16(at + 6, 0, true);
  }
}
