/** The UDP sockets of the data path: one for each outer family, never blocking. Opening is all it does. */

import type { Address } from "../../ipam/addresses/ip.ts";
import { check, EADDRINUSE, EADDRNOTAVAIL, NetlinkError } from "../netlink/errors.ts";
import * as libc from "../netlink/libc.ts";
import { AF_OF } from "../netlink/rtnetlink.ts";
import { encodeSocketAddress } from "../netlink/socket-address.ts";
import {
  MTU_DISCOVER,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
} from "../netlink/socket-constants.ts";

/** linux/in.h, linux/in6.h */
export const IP_TOS = 1;
const IP_RECVTOS = 13;
const IP_FREEBIND = 15;
const IPV6_V6ONLY = 26;
const IPV6_RECVTCLASS = 66;
export const IPV6_TCLASS = 67;
/** Linux 4.15 */
const IPV6_FREEBIND = 78;
/** don't-fragment as long as the packet fits the path, else fragments: what flannel's proxy has by default. */
const PMTUDISC_WANT = 1;

/** linux/udp.h */
export const SOL_UDP = 17;
export const UDP_SEGMENT = 103;
export const UDP_GRO = 104;

/** Room for some milliseconds at line rate. */
const BUFFER_BYTES = 8 << 20;

/** Opens and binds a socket. Throws NetlinkError whose text names the remedy. */
export function openUdpSocket(address: Address, port: number): number {
  const fd = check(
    "socket",
    libc.socket(AF_OF[address.family], SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
  );
  try {
    growBuffer(fd, SO_RCVBUFFORCE, SO_RCVBUF);
    growBuffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
    for (const [level, name, value] of OPTIONS[address.family])
      check(`setsockopt ${name}`, libc.setIntOption(fd, level, name, value));
    // The address may be missing for now: packets of the other family have a socket all the same.
    const [level, freebind] = FREEBIND[address.family];
    libc.setIntOption(fd, level, freebind, 1);
    // Linux before 5.0 has no UDP_GRO: then every datagram comes alone.
    libc.setIntOption(fd, SOL_UDP, UDP_GRO, 1);
    const bound = libc.bind(fd, encodeSocketAddress(address, port));
    if (bound < 0)
      throw new NetlinkError(`bind ${address} port ${port}`, -bound, {
        kernelMessage: bindRemedy(-bound, port),
      });
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** Whether a descriptor that a former run opened is a socket bound to this address and port. */
export function adoptUdpSocket(fd: number, address: Address, port: number): boolean {
  const wanted = encodeSocketAddress(address, port);
  const bound = Buffer.alloc(wanted.length);
  return libc.getsockname(fd, bound) >= 0 && bound.equals(wanted);
}

const FREEBIND = { 4: [SOL_IP, IP_FREEBIND], 6: [SOL_IPV6, IPV6_FREEBIND] } as const;

const OPTIONS = {
  4: [
    [SOL_IP, IP_RECVTOS, 1],
    [...MTU_DISCOVER[4], PMTUDISC_WANT],
  ],
  6: [
    [SOL_IPV6, IPV6_V6ONLY, 1],
    [SOL_IPV6, IPV6_RECVTCLASS, 1],
    [...MTU_DISCOVER[6], PMTUDISC_WANT],
  ],
} as const;

/** The forced size needs CAP_NET_ADMIN in the first user namespace; without it the system's limit applies. */
function growBuffer(fd: number, forced: number, limited: number): void {
  if (libc.setIntOption(fd, SOL_SOCKET, forced, BUFFER_BYTES) < 0)
    check("setsockopt", libc.setIntOption(fd, SOL_SOCKET, limited, BUFFER_BYTES));
}

function bindRemedy(errno: number, port: number): string {
  if (errno === EADDRINUSE)
    return `another program uses UDP port ${port}; stop it, or set Backend.Port if the backend is udp`;
  if (errno === EADDRNOTAVAIL) return "no interface has this address";
  return "the tunnel's socket cannot be bound";
}
