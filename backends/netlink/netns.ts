/**
 * Network namespaces: handles to them, and running something inside one.
 *
 * setns(2) moves one thread only, so whatever runs inside must finish before anything is awaited.
 */

import { fstatSync } from "node:fs";
import { abort } from "node:process";
import { check } from "./errors.ts";
import * as libc from "./libc.ts";

/** linux/sched.h */
const CLONE_NEWNET = 0x40000000;
/** asm-generic/fcntl.h */
const O_RDONLY = 0;
const O_CLOEXEC = 0o2000000;

/** /proc/self would be the main thread's namespace, whichever thread asks. */
const OWN_NETNS = "/proc/thread-self/ns/net";

/** Keeps a network namespace alive and reachable until it is closed. */
export class NetnsHandle {
  /** Device and inode of the namespace: equal for two handles exactly when they mean one namespace. */
  readonly identity: string;
  #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
    const { dev, ino } = fstatSync(fd);
    this.identity = `${dev}:${ino}`;
  }

  /** -1 once closed, so that a late use ends in EBADF and never in a descriptor that others took over. */
  get fd(): number {
    return this.#fd;
  }

  /** Opens a namespace by its file, for example `/run/netns/NAME` or `/proc/PID/ns/net`. Throws NetlinkError. */
  static open(path: string): NetnsHandle {
    return new NetnsHandle(check(`open ${path}`, libc.open(path, O_RDONLY | O_CLOEXEC)));
  }

  /** The namespace that the calling thread is in. Throws NetlinkError. */
  static own(): NetnsHandle {
    return NetnsHandle.open(OWN_NETNS);
  }

  /**
   * A new namespace that has a loopback interface and no name: it ends with the last handle, and so does every device in it,
   * however this process ends. Throws NetlinkError.
   */
  static create(): NetnsHandle {
    return returning(() => {
      check("unshare", libc.unshare(CLONE_NEWNET));
      return NetnsHandle.own();
    });
  }

  /** Closes the handle; a second call does nothing. */
  close(): void {
    if (this.#fd < 0) return;
    libc.close(this.#fd);
    this.#fd = -1;
  }
}

/**
 * Runs `body`, which moves the calling thread into another namespace, and moves it back. A process that cannot return
 * aborts, because everything it does afterwards would hit the wrong host.
 */
function returning<T>(body: () => T): T {
  const own = NetnsHandle.own();
  try {
    return body();
  } finally {
    if (libc.setns(own.fd, CLONE_NEWNET) < 0) abort();
    own.close();
  }
}

/**
 * Runs `body` with the calling thread inside `netns` and returns what it returns (`nsenter --net=FILE`).
 *
 * `body` must be synchronous, and file system work that Node hands to its thread pool still sees the old
 * namespace. Throws NetlinkError when the way in fails.
 */
export function withNetns<T>(netns: NetnsHandle, body: () => T): T {
  return returning(() => {
    check("setns", libc.setns(netns.fd, CLONE_NEWNET));
    return body();
  });
}
