/** The lock of one network's folder, the same file and call that host-local uses, so that both exclude each other. */

import { closeSync } from "node:fs";
import { join } from "node:path";
import { check } from "../../backends/netlink/errors.ts";
import { flock } from "../../backends/netlink/libc.ts";
import type { FolderLock } from "../../ipam/containers/host-local.ts";
import { openLockFile } from "../../ipam/files/write.ts";

/** sys/file.h */
const LOCK_EX = 2;

/**
 * Waits in the system call, so that a program that does nothing else gets the lock at once. A dead process holds no
 * lock. Not for two calls at once in one process: the second would wait forever. Throws NetlinkError.
 */
export const withLock: FolderLock = async (folder, work) => {
  const fd = openLockFile(join(folder, "lock"));
  try {
    check("flock", flock(fd, LOCK_EX));
    return await work();
  } finally {
    closeSync(fd);
  }
};
