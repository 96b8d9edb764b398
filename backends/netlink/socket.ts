/**
 * One netlink socket: opening, options, whole datagrams in and out. It never blocks and interprets no message.
 *
 * A socket keeps the network namespace in which it was opened, wherever its process goes afterwards.
 */

import { check, EAGAIN, EMSGSIZE, ENOPROTOOPT, NetlinkError } from "./errors.ts";
import * as libc from "./libc.ts";
import { type NetnsHandle, withNetns } from "./netns.ts";
import {
  MSG_DONTWAIT,
  MSG_TRUNC,
  SO_ATTACH_FILTER,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_SOCKET,
} from "./socket-constants.ts";

/** linux/netlink.h: netlink protocols. */
const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;
export const NETLINK_GENERIC = 16;

/** The largest datagram that is sent or received: the kernel answers dumps in at most 32 KiB. */
export const DATAGRAM_BYTES = 65_536;

const AF_NETLINK = 16;

/** linux/netlink.h */
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

/** Of the options, NETLINK_GET_STRICT_CHK is the newest. */
const TOO_OLD = "this kernel lacks it: use Linux 4.20 or newer";

/** A burst of 5,000 answers overflows 1 MiB. */
const RECEIVE_BUFFER_BYTES = 4 << 20;

export interface SocketOptions {
  /** Default NETLINK_ROUTE. */
  readonly protocol?: number;
  /** The namespace to open the socket in; default the one this thread is in. */
  readonly netns?: NetnsHandle;
  /** Multicast groups to join (RTNLGRP_*, NFNLGRP_*). */
  readonly groups?: readonly number[];
}

export class NetlinkSocket {
  /** The kernel's name for this socket, which is in the notifications that our own requests cause. */
  readonly portId: number;
  /** The receive buffer that the kernel granted, counted as the kernel counts: with its own overhead. */
  readonly receiveBufferBytes: number;
  #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
    this.receiveBufferBytes = growReceiveBuffer(fd);
    this.portId = bindSocket(fd);
  }

  /** -1 once closed, so that a late use ends in EBADF and never in a descriptor that others took over. */
  get fd(): number {
    return this.#fd;
  }

  /** Opens and binds a socket. Throws NetlinkError. */
  static open({ protocol = NETLINK_ROUTE, netns, groups = [] }: SocketOptions = {}): NetlinkSocket {
    const openHere = () => check("socket", libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
    const fd = netns === undefined ? openHere() : withNetns(netns, openHere);
    try {
      const setOption = (name: string, option: number, value: number) => {
        const result = libc.setIntOption(fd, SOL_NETLINK, option, value);
        if (result === -ENOPROTOOPT) throw new NetlinkError(name, ENOPROTOOPT, { kernelMessage: TOO_OLD });
        check(name, result);
      };
      setOption("NETLINK_CAP_ACK", NETLINK_CAP_ACK, 1);
      setOption("NETLINK_EXT_ACK", NETLINK_EXT_ACK, 1);
      setOption("NETLINK_GET_STRICT_CHK", NETLINK_GET_STRICT_CHK, 1);
      const socket = new NetlinkSocket(fd);
      for (const group of groups) setOption("NETLINK_ADD_MEMBERSHIP", NETLINK_ADD_MEMBERSHIP, group);
      return socket;
    } catch (error) {
      libc.close(fd);
      throw error;
    }
  }

  /** Sends one datagram to the kernel, which has done all it asks for when this returns. Throws NetlinkError. */
  send(datagram: Uint8Array): void {
    check("send", libc.send(this.fd, datagram));
  }

  /** The same on a worker thread, for requests that the kernel takes its time over. */
  async sendAsync(datagram: Uint8Array): Promise<void> {
    check("send", await libc.sendAsync(this.fd, datagram));
  }

  /** Receives one datagram and returns its length, or 0 when none is waiting. Throws NetlinkError. */
  receive(into: Uint8Array): number {
    const length = libc.recv(this.fd, into, MSG_DONTWAIT | MSG_TRUNC);
    if (length === -EAGAIN) return 0;
    check("recv", length);
    if (length <= into.length) return length;
    throw new NetlinkError("recv", EMSGSIZE, { kernelMessage: `a datagram of ${length} bytes` });
  }

  /** Drops, in the kernel, each datagram for which the program answers 0 (socket(7), SO_ATTACH_FILTER). */
  filter(program: Uint8Array): void {
    check("SO_ATTACH_FILTER", libc.setFilterOption(this.fd, SOL_SOCKET, SO_ATTACH_FILTER, program));
  }

  /** Closes the socket; a second call does nothing. */
  close(): void {
    if (this.#fd < 0) return;
    libc.close(this.#fd);
    this.#fd = -1;
  }
}

/** The forced size needs CAP_NET_ADMIN in the first user namespace; without it the system's limit applies. */
function growReceiveBuffer(fd: number): number {
  if (libc.setIntOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES) < 0) {
    check("SO_RCVBUF", libc.setIntOption(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER_BYTES));
  }
  return check("SO_RCVBUF", libc.getIntOption(fd, SOL_SOCKET, SO_RCVBUF));
}

/** Binds to a port id of the kernel's choice and returns it (`struct sockaddr_nl`: family, port id, groups). */
function bindSocket(fd: number): number {
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF_NETLINK);
  check("bind", libc.bind(fd, address));
  check("getsockname", libc.getsockname(fd, address));
  return address.readUInt32LE(4);
}
