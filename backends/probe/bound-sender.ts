/**
 * Sends IPv6 packets from a given address by a given interface alone, as containers' packets leave by it. A socket with a
 * source takes routes by other interfaces too, unless it is bound to one (ip6_route_output_flags in net/ipv6/route.c), and
 * one that is bound hears nothing that arrives by others: so this one receives nothing, and another socket the answers.
 */

import type { Address } from "../../ipam/addresses/ip.ts";
import { check } from "../netlink/errors.ts";
import * as libc from "../netlink/libc.ts";
import { AF_OF } from "../netlink/rtnetlink.ts";
import { encodeSocketAddress } from "../netlink/socket-address.ts";
import {
  IPPROTO_ICMP_OF,
  MSG_DONTWAIT,
  MTU_DISCOVER,
  SO_BINDTOIFINDEX,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_SOCKET,
} from "../netlink/socket-constants.ts";

/** linux/icmpv6.h ICMPV6_FILTER: a set bit keeps messages of that type away. */
const FILTER_OPTION = 1;
const ALL_TYPES = Buffer.alloc(32, 0xff);

export class BoundSender {
  readonly #fd: number;
  #interfaceIndex = 0;
  #source: Address | null = null;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Null where the kernel cannot bind by index (before Linux 5.0). Throws NetlinkError. */
  static open(mtuDiscovery: number): BoundSender | null {
    const opened = libc.socket(AF_OF[6], SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP_OF[6]);
    const fd = check("raw socket for echo requests", opened);
    try {
      check("filter", libc.setBytesOption(fd, IPPROTO_ICMP_OF[6], FILTER_OPTION, ALL_TYPES));
      const [level, option] = MTU_DISCOVER[6];
      check("MTU_DISCOVER", libc.setIntOption(fd, level, option, mtuDiscovery));
      if (libc.setIntOption(fd, SOL_SOCKET, SO_BINDTOIFINDEX, 0) >= 0) return new BoundSender(fd);
    } catch (error) {
      libc.close(fd);
      throw error;
    }
    libc.close(fd);
    return null;
  }

  /** Throws NetlinkError: ENODEV, EADDRNOTAVAIL, and what sendto(2) does. */
  send(packet: Uint8Array, target: Address, source: Address, interfaceIndex: number): void {
    // First: bind(2) fails while the socket is bound to an interface that is gone.
    if (interfaceIndex !== this.#interfaceIndex) {
      const bound = libc.setIntOption(this.#fd, SOL_SOCKET, SO_BINDTOIFINDEX, interfaceIndex);
      check("BINDTOIFINDEX", bound);
      this.#interfaceIndex = interfaceIndex;
    }
    if (this.#source?.equals(source) !== true) {
      check(`source ${source}`, libc.bind(this.#fd, encodeSocketAddress(source)));
      this.#source = source;
    }
    const sent = libc.sendto(this.#fd, packet, MSG_DONTWAIT, encodeSocketAddress(target));
    check(`echo request to ${target}`, sent);
  }

  /** Call it once. */
  close(): void {
    libc.close(this.#fd);
  }
}
