/** The lock of one network's folder, the same file and call that host-local uses, so that both exclude each other. */

import { closeSync } from "node:fs";
import path from "node:path";
import { check } from "../backends/netlink/errors.ts";
import { flock } from "../backends/netlink/libc.ts";
import { openLockFile } from "../ipam/files.ts";

/** sys/file.h */
const LOCK_EX = 2;

/** Runs `body` while no other process holds the lock of `dir`. A dead process holds no lock. Throws NetlinkError. */
export function withLock<T>(dir: string, body: () => T): T {
  const fd = openLockFile(path.join(dir, "lock"));
  try {
    check("flock", flock(fd, LOCK_EX));
    return body();
  } finally {
    closeSync(fd);
  }
}
