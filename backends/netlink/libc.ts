/**
 * The few C library calls that Node does not have, and the only file that imports koffi. In a program compiled with
 * Bun, koffi-bun.ts replaces koffi.
 *
 * Every function answers as the kernel itself does: a result of 0 or more, or the negated errno. Nothing here
 * throws, retries or knows what netlink is.
 */

import { write } from "node:fs";
import koffi, { type KoffiFunc } from "koffi";
import { SOL_SOCKET } from "./socket-constants.ts";

/** asm-generic/errno-base.h, errno.h */
const EBADF = 9;
const ENOSYS = 38;

/** asm/unistd_64.h and asm-generic/unistd.h */
const SYS_USERFAULTFD: Readonly<Record<string, number>> = { x64: 323, arm64: 282 };

/** linux/socket.h */
const SCM_RIGHTS = 1;
/** struct msghdr, struct iovec, and a struct cmsghdr with an int, padded (cmsg(3)), of 64-bit Linux. */
const MSGHDR_BYTES = 56;
const IOVEC_BYTES = 16;
const CMSG_SPACE = 24;

const library = koffi.load(null);

const sys = {
  socket: declare<(domain: number, type: number, protocol: number) => number>(
    "int socket(int domain, int type, int protocol)",
  ),
  bind: declare<(fd: number, address: Uint8Array, length: number) => number>(
    "int bind(int fd, const void *address, uint length)",
  ),
  connect: declare<(fd: number, address: Uint8Array, length: number) => number>(
    "int connect(int fd, const void *address, uint length)",
  ),
  listen: declare<(fd: number, backlog: number) => number>("int listen(int fd, int backlog)"),
  getsockname: declare<(fd: number, address: Uint8Array, length: Uint8Array) => number>(
    "int getsockname(int fd, void *address, void *length)",
  ),
  setsockopt: declare<(fd: number, level: number, name: number, value: Uint8Array, length: number) => number>(
    "int setsockopt(int fd, int level, int name, const void *value, uint length)",
  ),
  getsockopt: declare<
    (fd: number, level: number, name: number, value: Uint8Array, length: Uint8Array) => number
  >("int getsockopt(int fd, int level, int name, void *value, void *length)"),
  // ssize_t is unknown to koffi; on every 64-bit Linux it is int64_t.
  send: declare<(fd: number, bytes: Uint8Array, length: number, flags: number) => number>(
    "int64_t send(int fd, const void *bytes, size_t length, int flags)",
  ),
  recv: declare<(fd: number, bytes: Uint8Array, length: number, flags: number) => number>(
    "int64_t recv(int fd, void *bytes, size_t length, int flags)",
  ),
  sendmsg: declare<(fd: number, message: number, flags: number) => number>(
    "int64_t sendmsg(int fd, uintptr_t message, int flags)",
  ),
  sendto: declare<
    (fd: number, bytes: Uint8Array, length: number, flags: number, to: Uint8Array, toLength: number) => number
  >("int64_t sendto(int fd, const void *bytes, size_t length, int flags, const void *to, uint toLength)"),
  recvfrom: declare<
    (fd: number, bytes: Uint8Array, length: number, flags: number, from: Uint8Array, l: Uint8Array) => number
  >("int64_t recvfrom(int fd, void *bytes, size_t length, int flags, void *from, void *fromLength)"),
  open: declare<(path: string, flags: number) => number>("int open(const char *path, int flags)"),
  close: declare<(fd: number) => number>("int close(int fd)"),
  flock: declare<(fd: number, operation: number) => number>("int flock(int fd, int operation)"),
  eventfd: declare<(initial: number, flags: number) => number>("int eventfd(uint initial, int flags)"),
  setns: declare<(fd: number, type: number) => number>("int setns(int fd, int type)"),
  unshare: declare<(flags: number) => number>("int unshare(int flags)"),
  // Pointers as numbers: the data path's memory never moves, and a number costs no conversion.
  ioctl: declare<(fd: number, request: number, argument: number) => number>(
    "int ioctl(int fd, size_t request, uintptr_t argument)",
  ),
  poll: declare<(fds: number, count: number, timeoutMs: number) => number>(
    "int poll(uintptr_t fds, size_t count, int timeoutMs)",
  ),
  read: declare<(fd: number, buffer: number, length: number) => number>(
    "int64_t read(int fd, uintptr_t buffer, size_t length)",
  ),
  writev: declare<(fd: number, iovecs: number, count: number) => number>(
    "int64_t writev(int fd, uintptr_t iovecs, int count)",
  ),
  sendmmsg: declare<(fd: number, messages: number, count: number, flags: number) => number>(
    "int sendmmsg(int fd, uintptr_t messages, uint count, int flags)",
  ),
  madvise: declare<(address: number, length: number, advice: number) => number>(
    "int madvise(uintptr_t address, size_t length, int advice)",
  ),
  syscall: declare<(number: number, argument: number) => number>(
    "int64_t syscall(int64_t number, int64_t argument)",
  ),
  recvmmsg: declare<(fd: number, messages: number, count: number, flags: number, timeout: number) => number>(
    "int recvmmsg(int fd, uintptr_t messages, uint count, int flags, uintptr_t timeout)",
  ),
};

/** socket(2). */
export function socket(domain: number, type: number, protocol: number): number {
  return orErrno(sys.socket(domain, type, protocol));
}

/** bind(2). */
export function bind(fd: number, address: Uint8Array): number {
  return orErrno(sys.bind(fd, address, address.length));
}

/** connect(2). */
export function connect(fd: number, address: Uint8Array): number {
  return orErrno(sys.connect(fd, address, address.length));
}

/** listen(2) */
export function listen(fd: number, backlog: number): number {
  return orErrno(sys.listen(fd, backlog));
}

/** getsockname(2): fills `address`. */
export function getsockname(fd: number, address: Uint8Array): number {
  return orErrno(sys.getsockname(fd, address, intBytes(address.length)));
}

/** setsockopt(2) of an `int`. */
export function setIntOption(fd: number, level: number, name: number, value: number): number {
  return orErrno(sys.setsockopt(fd, level, name, intBytes(value), 4));
}

/** setsockopt(2) of a classic BPF program, made of 8-byte instructions (`struct sock_filter`). */
export function setFilterOption(fd: number, level: number, name: number, program: Uint8Array): number {
  // struct sock_fprog, linux/filter.h: a length in instructions, and where they are.
  const value = Buffer.alloc(16);
  value.writeUInt16LE(program.length / 8);
  value.writeBigUInt64LE(koffi.address(program), 8);
  return orErrno(sys.setsockopt(fd, level, name, value, value.length));
}

/** setsockopt(2) of a structure. */
export function setBytesOption(fd: number, level: number, name: number, value: Uint8Array): number {
  return orErrno(sys.setsockopt(fd, level, name, value, value.length));
}

/** getsockopt(2) of an `int` that is never negative. */
export function getIntOption(fd: number, level: number, name: number): number {
  const value = intBytes(0);
  const result = orErrno(sys.getsockopt(fd, level, name, value, intBytes(4)));
  return result < 0 ? result : value.readInt32LE();
}

/** send(2): how many bytes were sent. */
export function send(fd: number, bytes: Uint8Array): number {
  return orErrno(sys.send(fd, bytes, bytes.length, 0));
}

/** send(2) without flags, which is write(2), on a thread. The caller keeps `fd` open until the promise settles. */
export function sendAsync(fd: number, bytes: Uint8Array): Promise<number> {
  if (fd < 0) return Promise.resolve(-EBADF);
  return new Promise((resolve, reject) => {
    write(fd, bytes, 0, bytes.length, null, (error, written) => {
      if (error === null) resolve(written);
      else if (error.errno === undefined) reject(error);
      else resolve(error.errno);
    });
  });
}

/** recv(2): the length of the datagram, which exceeds `bytes.length` when it was cut and MSG_TRUNC was asked for. */
export function recv(fd: number, bytes: Uint8Array, flags: number): number {
  return orErrno(sys.recv(fd, bytes, bytes.length, flags));
}

/** sendmsg(2) with a copy of the descriptor `passed` (SCM_RIGHTS, unix(7)): how many bytes were sent. */
export function sendDescriptor(fd: number, bytes: Uint8Array, passed: number): number {
  const header = Buffer.alloc(MSGHDR_BYTES + IOVEC_BYTES + CMSG_SPACE);
  const [iovec, control] = [MSGHDR_BYTES, MSGHDR_BYTES + IOVEC_BYTES];
  const base = koffi.address(header);
  header.writeBigUInt64LE(base + BigInt(iovec), 16);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(base + BigInt(control), 32);
  header.writeBigUInt64LE(BigInt(CMSG_SPACE), 40);
  header.writeBigUInt64LE(koffi.address(bytes), iovec);
  header.writeBigUInt64LE(BigInt(bytes.length), iovec + 8);
  header.writeBigUInt64LE(BigInt(CMSG_SPACE - 4), control);
  header.writeInt32LE(SOL_SOCKET, control + 8);
  header.writeInt32LE(SCM_RIGHTS, control + 12);
  header.writeInt32LE(passed, control + 16);
  return orErrno(sys.sendmsg(fd, Number(base), 0));
}

/** sendto(2): how many bytes were sent. */
export function sendto(fd: number, bytes: Uint8Array, flags: number, to: Uint8Array): number {
  return orErrno(sys.sendto(fd, bytes, bytes.length, flags, to, to.length));
}

/** recvfrom(2): the length of the datagram; fills `from` with the sender's address. */
export function recvfrom(fd: number, bytes: Uint8Array, flags: number, from: Uint8Array): number {
  return orErrno(sys.recvfrom(fd, bytes, bytes.length, flags, from, intBytes(from.length)));
}

/** open(2) without O_CREAT, on the calling thread, hence in its network namespace. */
export function open(path: string, flags: number): number {
  return orErrno(sys.open(path, flags));
}

/** close(2). */
export function close(fd: number): number {
  return orErrno(sys.close(fd));
}

/** flock(2): with LOCK_EX it waits until no other open file holds the lock; closing the file releases it. */
export function flock(fd: number, operation: number): number {
  return orErrno(sys.flock(fd, operation));
}

/** eventfd(2): a counter that is readable while it is not zero. */
export function eventfd(flags: number): number {
  return orErrno(sys.eventfd(0, flags));
}

/** setns(2): moves the calling thread, and it alone, into the namespace that `fd` refers to. */
export function setns(fd: number, type: number): number {
  return orErrno(sys.setns(fd, type));
}

/** unshare(2): moves the calling thread, and it alone, into new namespaces. */
export function unshare(flags: number): number {
  return orErrno(sys.unshare(flags));
}

/** The address of a buffer that the caller keeps alive and that never moves. */
export function addressOf(bytes: Uint8Array): bigint {
  return koffi.address(bytes);
}

/** ioctl(2) with a structure. */
export function ioctlBytes(fd: number, request: number, structure: Uint8Array): number {
  return orErrno(sys.ioctl(fd, request, Number(koffi.address(structure))));
}

/** ioctl(2) with an integer. */
export function ioctl(fd: number, request: number, argument: number): number {
  return orErrno(sys.ioctl(fd, request, argument));
}

/** poll(2) on `count` structs pollfd: blocks the calling thread. */
export function poll(fds: number, count: number, timeoutMs: number): number {
  return orErrno(sys.poll(fds, count, timeoutMs));
}

/** read(2) to an address. */
export function readAt(fd: number, buffer: number, length: number): number {
  return orErrno(sys.read(fd, buffer, length));
}

/** writev(2) of iovecs at an address. */
export function writevAt(fd: number, iovecs: number, count: number): number {
  return orErrno(sys.writev(fd, iovecs, count));
}

/** sendmmsg(2): how many messages were sent; an error concerns the first only. */
export function sendmmsgAt(fd: number, messages: number, count: number, flags: number): number {
  return orErrno(sys.sendmmsg(fd, messages, count, flags));
}

/** recvmmsg(2) without a timeout: how many messages were received. */
export function recvmmsgAt(fd: number, messages: number, count: number, flags: number): number {
  return orErrno(sys.recvmmsg(fd, messages, count, flags, 0));
}

/** userfaultfd(2), for which the C library has no function. */
export function userfaultfd(flags: number): number {
  const number = SYS_USERFAULTFD[process.arch];
  return number === undefined ? -ENOSYS : orErrno(sys.syscall(number, flags));
}

/** madvise(2) */
export function madvise(address: number, length: number, advice: number): number {
  return orErrno(sys.madvise(address, length, advice));
}

/** A running watch of a file descriptor. It ends silently when the last reference to it is dropped. */
export interface Watch {
  close(): void;
  /** Lets the process end although the watch runs. */
  unref(): void;
}

/**
 * Calls back on the event loop whenever `fd` is readable or has an error, which the callback must read (level-triggered:
 * uv_poll, in Bun signal-watch.ts).
 */
export function watchReadable(fd: number, callback: () => void): Watch {
  return watch(fd, { readable: true }, callback);
}

/** The same for writable, which a socket is as well whose connection has failed. */
export function watchWritable(fd: number, callback: () => void): Watch {
  return watch(fd, { writable: true }, callback);
}

function watch(
  fd: number,
  event: { readonly readable: true } | { readonly writable: true },
  callback: () => void,
): Watch {
  // koffi passes libuv's status first. With an error of the socket (POLLERR), such as ENOBUFS, libuv has ended the watch.
  const onEvent = reported((status) => {
    if (typeof status === "number" && status < 0) handle.start(event, onEvent);
    callback();
  });
  const handle = koffi.node.poll(fd, event, onEvent);
  return handle;
}

/** What is thrown into native code would stay pending there, and abort the process at a later garbage collection. */
function reported(callback: (status: unknown) => void): (status: unknown) => void {
  return (status) => {
    try {
      callback(status);
    } catch (error) {
      setImmediate(() => {
        throw error;
      });
    }
  };
}

function declare<F extends (...args: never[]) => number>(definition: string): KoffiFunc<F> {
  return library.func(definition) as unknown as KoffiFunc<F>;
}

/** Must follow the call at once: anything in between may overwrite errno. */
function orErrno(result: number): number {
  return result < 0 ? -koffi.errno() : result;
}

function intBytes(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}
