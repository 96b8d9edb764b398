/**
 * A TUN device with the offloads that carry TCP and UDP in packets of up to 64 KiB (linux/if_tun.h,
 * linux/virtio_net.h). Opening is all it does.
 */

import { check, EBUSY, EINVAL, ENOENT, EPERM, NetlinkError } from "../netlink/errors.ts";
import * as libc from "../netlink/libc.ts";
import type { Arena } from "./arena.ts";

const DEVICE = "/dev/net/tun";
/** fcntl.h */
const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

/** linux/if_tun.h */
const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const TUNSETOFFLOAD = 0x400454d0;
const IFF_TUN = 0x0001;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_TSO_ECN = 0x08;
/** Only together, from Linux 6.2 on. */
const TUN_F_USO4 = 0x20;
const TUN_F_USO6 = 0x40;

const TCP_OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

/** struct ifreq: the name, then the flags. */
const IFREQ_BYTES = 40;
const IFNAMSIZ = 16;

/** struct virtio_net_hdr, in the machine's byte order, by offset. */
export const VNET = {
  flags: 0,
  gsoType: 1,
  headerLength: 2,
  gsoSize: 4,
  checksumStart: 6,
  checksumOffset: 8,
};
export const VNET_BYTES = 10;
export const VNET_NEEDS_CHECKSUM = 1;
export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;
export const GSO_UDP_L4 = 5;
/** A flag beside the type: the first segment alone has CWR. */
export const GSO_ECN = 0x80;

/**
 * Opens the device and creates it if it is missing; it outlives this process, so that its address and routes stay.
 * Returns the descriptor. Throws NetlinkError whose text names the remedy.
 */
export function openTun(arena: Arena, name: string): number {
  const fd = libc.open(DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) throw new NetlinkError(`open ${DEVICE}`, -fd, { kernelMessage: openRemedy(-fd) });
  try {
    attach(arena, fd, name);
    setOffloads(fd);
    check("TUNSETPERSIST", libc.ioctl(fd, TUNSETPERSIST, 1));
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

function attach(arena: Arena, fd: number, name: string): void {
  const request = arena.reserve(IFREQ_BYTES);
  arena.bytes.fill(0, request, request + IFREQ_BYTES);
  arena.bytes.set(Buffer.from(name), request);
  arena.view.setUint16(request + IFNAMSIZ, IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, true);
  const result = libc.ioctl(fd, TUNSETIFF, arena.base + request);
  if (result < 0)
    throw new NetlinkError(`TUNSETIFF ${name}`, -result, { kernelMessage: attachRemedy(name, -result) });
}

function setOffloads(fd: number): void {
  const all = libc.ioctl(fd, TUNSETOFFLOAD, TCP_OFFLOADS | TUN_F_USO4 | TUN_F_USO6);
  if (all < 0) check("TUNSETOFFLOAD", libc.ioctl(fd, TUNSETOFFLOAD, TCP_OFFLOADS));
}

function openRemedy(errno: number): string {
  if (errno === ENOENT)
    return "load the module tun (modprobe tun), or give the container the device /dev/net/tun";
  if (errno === EPERM) return "allow the device in the container's device cgroup";
  return "the backend udp needs this device";
}

function attachRemedy(name: string, errno: number): string {
  if (errno === EBUSY) return `another program holds ${name}; stop it`;
  if (errno === EINVAL)
    return `${name} exists and is another kind of device; delete it: ip link delete ${name}`;
  if (errno === EPERM) return "the daemon needs CAP_NET_ADMIN";
  return `${name} cannot be opened`;
}
