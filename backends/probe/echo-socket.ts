/**
 * A socket that sends echo requests to one address and receives its replies, as ping(8) does.
 *
 * Two kinds of socket can do it: a datagram socket of ICMP, which needs no privilege where the namespace's
 * net.ipv4.ping_group_range holds the group (icmp(7)), and a raw socket, which needs CAP_NET_RAW. This file
 * schedules nothing and measures nothing.
 */

import type { Address, Family } from "../../ipam/addresses/ip.ts";
import { check, EACCES, EAGAIN, EPERM } from "../netlink/errors.ts";
import * as libc from "../netlink/libc.ts";
import { type NetnsHandle, withNetns } from "../netlink/netns.ts";
import { AF_OF } from "../netlink/rtnetlink.ts";
import { encodeSocketAddress } from "../netlink/socket-address.ts";
import {
  IPPROTO_ICMP_OF,
  MSG_DONTWAIT,
  MTU_DISCOVER,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_RAW,
} from "../netlink/socket-constants.ts";
import { decodeEchoReply, type Echo, encodeEchoRequest, withoutIpv4Header } from "./echo-message.ts";

/** Never fragment: what exceeds the path's known MTU fails with EMSGSIZE. */
const PMTUDISC_DO = 2;

/** The largest IP packet. */
const PACKET_BYTES = 65_536;

export interface EchoSocketOptions {
  readonly target: Address;
  /** Address to send from; default the kernel's choice. */
  readonly source?: Address;
  /** Of the target, for link-local IPv6 addresses. */
  readonly interfaceIndex?: number;
  /** The namespace to send in; default the calling thread's own. */
  readonly netns?: NetnsHandle;
  /** Identifier of a raw socket's requests, 1 to 65535; the kernel chooses that of a datagram socket. */
  readonly id: number;
  /** Default false. */
  readonly dontFragment?: boolean;
}

export class EchoSocket {
  readonly #family: Family;
  readonly #isRaw: boolean;
  readonly #id: number;
  readonly #buffer = Buffer.allocUnsafe(PACKET_BYTES);
  #watch: libc.Watch | null = null;
  #fd: number;

  private constructor(fd: number, isRaw: boolean, { target, id }: EchoSocketOptions) {
    this.#fd = fd;
    this.#isRaw = isRaw;
    this.#id = id;
    this.#family = target.family;
  }

  /** Opens a socket, of datagrams where that is allowed, else raw. Throws NetlinkError (EPERM: neither is). */
  static open(options: EchoSocketOptions): EchoSocket {
    const { netns } = options;
    const { fd, isRaw } =
      netns === undefined ? openSocket(options) : withNetns(netns, () => openSocket(options));
    try {
      prepare(fd, options);
      return new EchoSocket(fd, isRaw, options);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }

  /** Sends one request. Throws NetlinkError, for example ENETUNREACH, or EMSGSIZE with `dontFragment`. */
  send(sequence: number, payload: Uint8Array): void {
    const request = encodeEchoRequest(this.#family, { id: this.#id, sequence, payload });
    check("send of an echo request", libc.send(this.#fd, request));
  }

  /**
   * One reply that has arrived, or null. Its payload is valid until the next call. Throws NetlinkError when the
   * network reports an error instead, such as EHOSTUNREACH; later calls go on.
   */
  receive(): Pick<Echo, "sequence" | "payload"> | null {
    for (;;) {
      const length = libc.recv(this.#fd, this.#buffer, MSG_DONTWAIT);
      if (length === -EAGAIN) return null;
      const packet = this.#buffer.subarray(0, check("recv of an echo reply", length));
      const message = this.#isRaw && this.#family === 4 ? withoutIpv4Header(packet) : packet;
      const reply = decodeEchoReply(this.#family, message);
      // A raw socket also receives what other sockets asked this target for.
      if (reply !== null && (!this.#isRaw || reply.id === this.#id)) return reply;
    }
  }

  /** Calls back on the event loop while a reply or an error waits. The callback must not throw. */
  onReadable(callback: () => void): void {
    this.#watch?.close();
    this.#watch = libc.watchReadable(this.#fd, callback);
  }

  /** A second call does nothing. */
  close(): void {
    if (this.#fd < 0) return;
    this.#watch?.close();
    libc.close(this.#fd);
    this.#fd = -1;
  }
}

function openSocket({ target: { family } }: EchoSocketOptions): { fd: number; isRaw: boolean } {
  const open = (type: number): number =>
    libc.socket(AF_OF[family], type | SOCK_CLOEXEC, IPPROTO_ICMP_OF[family]);
  const fd = open(SOCK_DGRAM);
  if (fd !== -EACCES && fd !== -EPERM) return { fd: check("socket for echo requests", fd), isRaw: false };
  return { fd: check("socket for echo requests", open(SOCK_RAW)), isRaw: true };
}

function prepare(fd: number, { target, source, interfaceIndex, dontFragment }: EchoSocketOptions): void {
  if (dontFragment) {
    const [level, option] = MTU_DISCOVER[target.family];
    check("MTU_DISCOVER", libc.setIntOption(fd, level, option, PMTUDISC_DO));
  }
  if (source !== undefined) check(`bind to ${source}`, libc.bind(fd, encodeSocketAddress(source)));
  check(`connect to ${target}`, libc.connect(fd, encodeSocketAddress(target, 0, interfaceIndex)));
}
