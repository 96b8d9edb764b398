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
/** More than the receive buffer holds: of the smallest, with the kernel's overhead, some ten thousand. */
const MOST_DISCARDED = 32_768;

export interface MonitorOptions extends SocketOptions {
  /** Multicast groups to join (RTNLGRP_*, NFNLGRP_*). */
  readonly groups: readonly number[];
  /** Port ids of our own sockets: their changes to routes, neighbours and nexthops are not reported. */
  readonly ownPorts?: readonly number[];
  /** One datagram's messages, to be decoded before the callback returns. */
  readonly onMessages: (messages: readonly NetlinkMessage[]) => void;
  /**
   * Notifications were lost (ENOBUFS): whatever was known from them is stale, so dump again. None from before it follows,
   * and changes made from now on are seen.
   */
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
    const length = this.#receiveBytes();
    if (length === 0) return false;
    if (length === null) {
      this.#discard();
      this.#options.onOverflow();
      return true;
    }
    const messages: NetlinkMessage[] = [];
    forEachMessage(this.#buffer, length, (message) => messages.push(message));
    this.#options.onMessages(messages);
    return true;
  }

  /**
   * The kernel reports a loss once, and drops all that comes until the queue has been empty (af_netlink.c,
   * netlink_overrun): a dump before that would miss it for good. After so many datagrams it was empty.
   */
  #discard(): void {
    for (let count = 0; count < MOST_DISCARDED; count++) if (this.#receiveBytes() === 0) return;
  }

  /** The length of the next datagram; 0 when none is waiting, null when some were lost. */
  #receiveBytes(): number | null {
    try {
      return this.#socket.receive(this.#buffer);
    } catch (error) {
      if (error instanceof NetlinkError && error.errno === ENOBUFS) return null;
      throw error;
    }
  }
}
