/** /dev/net/tun: makes TUN devices and opens them (linux/if_tun.h). In the network namespace of the calling thread. */

import { check, EBUSY, EINVAL, ENODEV, ENOENT, ENXIO, EPERM, NetlinkError } from "./errors.ts";
import * as libc from "./libc.ts";
import { alternativeNameRemedy } from "./link/alternative-name.ts";
import { AF_INET } from "./rtnetlink.ts";
import { SOCK_CLOEXEC, SOCK_DGRAM } from "./socket-constants.ts";

const FILE = "/dev/net/tun";
/** fcntl.h */
const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

/** linux/if_tun.h */
const TUNSETIFF = 0x400454ca;
const TUNSETPERSIST = 0x400454cb;
const TUNSETOFFLOAD = 0x400454d0;
const TUNGETIFF = 0x800454d2;
const IFF_TUN = 0x0001;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const MODE = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_TSO_ECN = 0x08;
/** Only together, from Linux 6.2 on. */
const TUN_F_USO4 = 0x20;
const TUN_F_USO6 = 0x40;

const TCP_OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

/** linux/sockios.h */
const SIOCGIFNAME = 0x8910;
const SIOCGIFINDEX = 0x8933;

/** struct ifreq: the name, then the flags. */
const IFREQ_BYTES = 40;
const IFNAMSIZ = 16;

/**
 * Opens a device that exists. Packets carry a struct virtio_net_hdr, and TCP and UDP come in packets of up to 64 KiB where
 * the kernel can. Returns a descriptor that never blocks. Throws NetlinkError whose text names the remedy.
 */
export function openTun(name: string): number {
  requireDevice(name);
  return makeTun(name);
}

/**
 * Whether a descriptor that a former run opened can be used in place of a new one. The kernel answers EBADFD for a device
 * that was deleted since.
 */
export function adoptTun(fd: number, name: string): boolean {
  const request = requestFor("");
  if (libc.ioctlBytes(fd, TUNGETIFF, request) < 0) return false;
  return nameIn(request) === name && (request.readUInt16LE(IFNAMSIZ) & MODE) === MODE;
}

/**
 * Creates a device. It has no program then, and outlives this one, so that its address and routes stay. Throws
 * NetlinkError whose text names the remedy.
 */
export function createTun(name: string): void {
  libc.close(makeTun(name));
}

function makeTun(name: string): number {
  const fd = openFile();
  try {
    attach(fd, name);
    setOffloads(fd);
    check("TUNSETPERSIST", libc.ioctl(fd, TUNSETPERSIST, 1));
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** TUNSETIFF would create a missing device, which is not for every caller to do. */
function requireDevice(name: string): void {
  const found = findDevice(name);
  if (typeof found === "string") return;
  const kernelMessage = "the device is missing; tulled creates it again";
  throw new NetlinkError(`find TUN device ${name}`, found.errno, { kernelMessage, retryable: true });
}

/** The name of the device that the kernel finds by this name or alternative name, or why it finds none (netdevice(7)). */
function findDevice(name: string): string | { readonly errno: number } {
  const fd = check("socket", libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  try {
    const request = requestFor(name);
    let result = libc.ioctlBytes(fd, SIOCGIFINDEX, request);
    // The index is where the next request reads it.
    if (result >= 0) result = libc.ioctlBytes(fd, SIOCGIFNAME, request);
    return result < 0 ? { errno: -result } : nameIn(request);
  } finally {
    libc.close(fd);
  }
}

function nameIn(request: Buffer): string {
  return request.toString("latin1", 0, IFNAMSIZ).replace(/\0.*$/s, "");
}

function requestFor(name: string): Buffer {
  const request = Buffer.alloc(IFREQ_BYTES);
  request.write(name, 0, IFNAMSIZ - 1);
  return request;
}

function openFile(): number {
  const fd = libc.open(FILE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0)
    throw new NetlinkError(`open ${FILE}`, -fd, { kernelMessage: openRemedy(-fd), retryable: true });
  return fd;
}

function attach(fd: number, name: string): void {
  const request = requestFor(name);
  request.writeUInt16LE(MODE, IFNAMSIZ);
  const result = libc.ioctlBytes(fd, TUNSETIFF, request);
  if (result < 0) {
    const kernelMessage = attachRemedy(name, -result);
    throw new NetlinkError(`open TUN device ${name}`, -result, { kernelMessage, retryable: true });
  }
}

function setOffloads(fd: number): void {
  const all = libc.ioctl(fd, TUNSETOFFLOAD, TCP_OFFLOADS | TUN_F_USO4 | TUN_F_USO6);
  if (all < 0) check("TUNSETOFFLOAD", libc.ioctl(fd, TUNSETOFFLOAD, TCP_OFFLOADS));
}

function openRemedy(errno: number): string {
  if (errno === EPERM) return `allow ${FILE} in the container's device cgroup`;
  const isMissing = errno === ENOENT || errno === ENXIO || errno === ENODEV;
  if (isMissing) return `load the module tun (modprobe tun), or give the container the device ${FILE}`;
  return "the backend udp needs this device";
}

function attachRemedy(name: string, errno: number): string {
  if (errno === EBUSY) return `another program, such as flanneld, holds ${name}; stop it`;
  if (errno === EINVAL) return occupiedRemedy(name);
  if (errno === EPERM) return "the daemon needs CAP_NET_ADMIN";
  return `the kernel does not open ${name}`;
}

function occupiedRemedy(name: string): string {
  const found = findDevice(name);
  if (typeof found === "string" && found !== name) return alternativeNameRemedy(name, found);
  return `${name} exists and is another kind of device; delete it: ip link delete ${name}`;
}
