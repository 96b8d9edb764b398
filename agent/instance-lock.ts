/**
 * Keeps a second daemon from managing the same tunnel device.
 *
 * The lock is a unix socket with an abstract name: such names belong to a network namespace, as devices do, so
 * daemons in different namespaces never meet, and the kernel drops the lock with its holder, however it dies.
 */

import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { TulleError } from "../ipam/errors.ts";

const LOCK_FOLDER = "tulle/";

export interface InstanceLock {
  release(): Promise<void>;
}

/** Takes the lock for a device such as `flannel.1`. Throws TULLE_ALREADY_RUNNING when somebody holds it. */
export function lockInstance(device: string): Promise<InstanceLock> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(error.code === "EADDRINUSE" ? alreadyRunning(device) : error);
    });
    server.listen(`\0${LOCK_FOLDER}${device}`, () => {
      server.unref();
      resolve({ release: () => close(server) });
    });
  });
}

/**
 * The devices for which somebody in this network namespace holds the lock (proc_net_unix(5), where `@` stands for
 * the zero bytes of an abstract name: one in front, and as many behind as libuv pads it with).
 */
export function runningInstances(table: string = readFileSync("/proc/net/unix", "utf8")): readonly string[] {
  const devices = [...table.matchAll(/ @(\S+)$/gm)].flatMap(([, name = ""]) =>
    name.startsWith(LOCK_FOLDER) ? [name.slice(LOCK_FOLDER.length).replace(/@+$/, "")] : [],
  );
  return [...new Set(devices)].sort();
}

function alreadyRunning(device: string): TulleError {
  return new TulleError(
    "TULLE_ALREADY_RUNNING",
    `another tulled manages ${device} in this network namespace: stop it, or give the networks different VNIs`,
    { details: { device } },
  );
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
