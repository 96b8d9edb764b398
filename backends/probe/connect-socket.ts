/** A TCP connection that is only tried, to learn what the kernel says of it. */

import type { Address } from "../../ipam/addresses/ip.ts";
import { check, EINPROGRESS, NetlinkError } from "../netlink/errors.ts";
import * as libc from "../netlink/libc.ts";
import { AF_OF } from "../netlink/rtnetlink.ts";
import { encodeSocketAddress } from "../netlink/socket-address.ts";
import {
  SO_ERROR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
} from "../netlink/socket-constants.ts";

export class ConnectSocket {
  readonly #fd: number;
  #watch: libc.Watch | null = null;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Sends the first segment from the calling thread's namespace. Throws NetlinkError, for example ENETUNREACH. */
  static open(target: Address, port: number): ConnectSocket {
    const type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    const fd = check("socket for TCP", libc.socket(AF_OF[target.family], type, 0));
    const result = libc.connect(fd, encodeSocketAddress(target, port));
    if (result >= 0 || result === -EINPROGRESS) return new ConnectSocket(fd);
    libc.close(fd);
    throw new NetlinkError(`connect to ${target}`, -result);
  }

  /** Calls back once on the event loop, with 0 for a connection, else with the errno that ended the attempt. It must not throw. */
  onOutcome(callback: (errno: number) => void): void {
    this.#watch = libc.watchWritable(this.#fd, () => {
      this.#watch?.close();
      callback(Math.abs(libc.getIntOption(this.#fd, SOL_SOCKET, SO_ERROR)));
    });
  }

  /** Call it once. */
  close(): void {
    this.#watch?.close();
    libc.close(this.#fd);
  }
}
