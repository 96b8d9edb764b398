/**
 * Notifications of changes in the kernel, by any program.
 *
 * Driven by the event loop (no thread, no timer); the caller interprets the messages. A socket filter can drop the
 * echoes of our own changes in the kernel, where that costs least. Never sends.
 */

import { ENOBUFS, NetlinkError } from "./errors.ts";
import { echoFilter } from "./filter.ts";
import { type Watch, watchReadable } from "./libc.ts";
import { forEachMessage, type NetlinkMessage } from "./message.ts";
import { DATAGRAM_BYTES, NetlinkSocket, type SocketOptions } from "./socket.ts";

/** After so many datagrams the event loop does other work; the remaining ones trigger the next read at once. */
const DATAGRAMS_PER_TURN = 1024;

export interface MonitorOptions extends SocketOptions {
  /** Multicast groups to join (RTNLGRP_*, NFNLGRP_*). */
  readonly groups: readonly number[];
  /** Port ids of our own sockets: their changes to routes, neighbours and nexthops are not reported. */
  readonly ownPorts?: readonly number[];
  /** One datagram's messages, to be decoded before the callback returns. */
  readonly onMessages: (messages: readonly NetlinkMessage[]) => void;
  /** Notifications were lost (ENOBUFS): whatever was known from them is stale, so dump again. */
  readonly onOverflow: () => void;
  /** The socket or a message is broken, or a callback threw. The monitor has closed itself. */
  readonly onError: (error: unknown) => void;
}

export class NetlinkMonitor {
  readonly #options: MonitorOptions;
  readonly #socket: NetlinkSocket;
  readonly #buffer = Buffer.allocUnsafe(DATAGRAM_BYTES);
  /** Kept here because a watch without a reference is garbage-collected and then reports nothing. */
  readonly #watch: Watch;
  #isOpen = true;

  private constructor(options: MonitorOptions) {
    this.#options = options;
    this.#socket = NetlinkSocket.open(options);
    if (options.ownPorts !== undefined) this.#socket.filter(echoFilter(options.ownPorts));
    this.#watch = watchReadable(this.#socket.fd, () => this.drain());
  }

  /** Subscribes in `netns` (`ip monitor`); changes made from now on are seen. Throws NetlinkError. */
  static open(options: MonitorOptions): NetlinkMonitor {
    return new NetlinkMonitor(options);
  }

  /** Lets the process end although the monitor is open. */
  unref(): void {
    this.#watch.unref();
  }

  /** Ends the subscription; a second call does nothing. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#watch.close();
    this.#socket.close();
  }

  /** Hands on what is waiting now, at most a turn's worth; never throws. */
  drain(): void {
    try {
      for (let count = 0; this.#isOpen && count < DATAGRAMS_PER_TURN; count++) {
        if (!this.#receive()) return;
      }
    } catch (error) {
      this.close();
      this.#options.onError(error);
    }
  }

  /** Hands one datagram on; false when none is waiting. */
  #receive(): boolean {
    try {
      const length = this.#socket.receive(this.#buffer);
      if (length === 0) return false;
      const messages: NetlinkMessage[] = [];
      forEachMessage(this.#buffer, length, (message) => messages.push(message));
      this.#options.onMessages(messages);
    } catch (error) {
      if (!(error instanceof NetlinkError) || error.errno !== ENOBUFS) throw error;
      this.#options.onOverflow();
    }
    return true;
  }
}
