/**
 * Keeps a second daemon from managing the same tunnel device.
 *
 * The lock is a unix socket with an abstract name: such names belong to a network namespace, as devices do, so
 * daemons in different namespaces do not exclude each other, and the kernel releases the lock when its holder dies.
 */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { TulleError } from "../../ipam/errors.ts";

const LOCK_FOLDER = "tulle/";
const STATE_LOCK_FOLDER = "tulle-state/";
const FIREWALL_LOCK = "tulle-firewall";

export interface InstanceLock {
  release(): Promise<void>;
}

/**
 * Takes the lock for a device such as `flannel.1`. Throws TULLE_ALREADY_RUNNING when another daemon holds it; `remedy` is
 * what helps instead of stopping that one.
 */
export function lockInstance(device: string, remedy = remedyFor(device)): Promise<InstanceLock> {
  return lockName(`${LOCK_FOLDER}${device}`, () => alreadyRunning(device, remedy));
}

/** The names of VXLAN devices end with the VNI; those of other backends exist once. */
function remedyFor(device: string): string {
  const hasVni = /\.\d+$/.test(device);
  return hasVni ? "give the networks different VNIs" : "give one of the networks another backend";
}

/**
 * Takes the lock for a state directory: what it records belongs to one daemon. Throws TULLE_ALREADY_RUNNING when
 * another daemon of this network namespace has it.
 */
export function lockStateDir(directory: string): Promise<InstanceLock> {
  // Abstract names have room for 107 bytes (unix(7)); paths may be longer.
  const name = createHash("sha256").update(directory).digest("hex").slice(0, 32);
  return lockName(`${STATE_LOCK_FOLDER}${name}`, () => stateDirInUse(directory));
}

/** Takes the lock for the firewall. Throws TULLE_ALREADY_RUNNING when another daemon of this namespace has it. */
export function lockFirewall(): Promise<InstanceLock> {
  return lockName(FIREWALL_LOCK, firewallInUse);
}

function lockName(name: string, taken: () => TulleError): Promise<InstanceLock> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(error.code === "EADDRINUSE" ? taken() : error);
    });
    server.listen(`\0${name}`, () => {
      // A connection that cannot be accepted (EMFILE) changes nothing: the name is what excludes others.
      server.on("error", () => undefined);
      server.unref();
      resolve({ release: () => close(server) });
    });
  });
}

/**
 * The devices whose lock is held in this network namespace. proc_net_unix(5) shows each zero byte of an abstract name
 * as `@`: one in front, and those with which libuv pads it.
 */
export function runningInstances(table: string = readFileSync("/proc/net/unix", "utf8")): readonly string[] {
  const devices = [...table.matchAll(/ @(\S+)$/gm)].flatMap(([, name = ""]) =>
    name.startsWith(LOCK_FOLDER) ? [name.slice(LOCK_FOLDER.length).replace(/@+$/, "")] : [],
  );
  return [...new Set(devices)].sort();
}

function alreadyRunning(device: string, remedy: string): TulleError {
  return new TulleError(
    "TULLE_ALREADY_RUNNING",
    `another tulled manages ${device} in this network namespace: stop it, or ${remedy}`,
    { details: { device } },
  );
}

function stateDirInUse(directory: string): TulleError {
  return new TulleError(
    "TULLE_ALREADY_RUNNING",
    `another tulled of this network namespace uses the state directory ${directory}: stop it, or give this one another --state-dir`,
    { details: { directory } },
  );
}

function firewallInUse(): TulleError {
  return new TulleError(
    "TULLE_ALREADY_RUNNING",
    "another tulled of this network namespace keeps the firewall, so this one writes no rules: accept what is forwarded for its network yourself, or run it in its own namespace",
  );
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
