/** Sockets for servers on one IPv4 address of this host, with what Node's own sockets lack. Opening is all it does. */

import type { Address } from "../../ipam/addresses/ip.ts";
import { check, EACCES, EADDRINUSE, NetlinkError } from "./errors.ts";
import { arrivalFilter } from "./filter.ts";
import * as libc from "./libc.ts";
import { AF_INET } from "./rtnetlink.ts";
import { encodeSocketAddress } from "./socket-address.ts";
import {
  SO_ATTACH_FILTER,
  SO_REUSEADDR,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOL_IP,
  SOL_SOCKET,
} from "./socket-constants.ts";

/** linux/net.h */
const SOCKET_TYPE = { udp: 2, tcp: 1 } as const;

/** linux/in.h */
const IP_FREEBIND = 15;

export interface ServerSocketOptions {
  readonly transport: "udp" | "tcp";
  /** Of IPv4; it may be missing for now (IP_FREEBIND), since any program can delete it, and it comes back. */
  readonly address: Address;
  readonly port: number;
  /** Indexes of the interfaces by which packets may come in. */
  readonly interfaces: readonly number[];
}

/**
 * A bound descriptor, not listening yet, which the caller closes. No packet by another interface ever reaches it. Throws
 * NetlinkError.
 */
export function openServerSocket({ transport, address, port, interfaces }: ServerSocketOptions): number {
  const type = SOCKET_TYPE[transport] | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const fd = check("socket", libc.socket(AF_INET, type, 0));
  try {
    // In front of bind: nothing may arrive before.
    filterArrivals(fd, interfaces);
    check("setsockopt IP_FREEBIND", libc.setIntOption(fd, SOL_IP, IP_FREEBIND, 1));
    // Connections of a former process in TIME_WAIT do not keep us from it. For UDP it would let two programs have one port.
    if (transport === "tcp")
      check("setsockopt SO_REUSEADDR", libc.setIntOption(fd, SOL_SOCKET, SO_REUSEADDR, 1));
    const bound = libc.bind(fd, encodeSocketAddress(address, port));
    if (bound < 0) throw bindError(transport, address, port, -bound);
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** Replaces the interfaces by which packets may come in. Throws NetlinkError. */
export function filterArrivals(fd: number, interfaces: readonly number[]): void {
  const filter = arrivalFilter(interfaces);
  check("setsockopt SO_ATTACH_FILTER", libc.setFilterOption(fd, SOL_SOCKET, SO_ATTACH_FILTER, filter));
}

const REMEDIES: Readonly<Record<number, string>> = {
  [EACCES]: "CAP_NET_BIND_SERVICE is missing: run as root, or give the service that capability",
  [EADDRINUSE]:
    "another program listens there, or on all addresses: stop it, or restrict it to its addresses",
};

function bindError(transport: string, address: Address, port: number, errno: number): NetlinkError {
  return new NetlinkError(`bind ${address} port ${port}/${transport}`, errno, {
    kernelMessage: REMEDIES[errno],
  });
}
