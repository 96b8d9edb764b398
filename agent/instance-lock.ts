/**
 * Keeps a second daemon from managing the same tunnel device.
 *
 * The lock is a unix socket with an abstract name: such names belong to a network namespace, as devices do, so
 * daemons in different namespaces never meet, and the kernel drops the lock with its holder, however it dies.
 */

import { createServer, type Server } from "node:net";
import { TulleError } from "../ipam/errors.ts";

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
    server.listen(`\0tulle/${device}`, () => {
      server.unref();
      resolve({ release: () => close(server) });
    });
  });
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
