/**
 * The device and the sockets of a data path: opened, or adopted from a former run of the daemon, whose copies were kept
 * open meanwhile. What waits in their queues is carried by this run.
 */

import { Address, type Family } from "../../ipam/addresses/ip.ts";
import * as libc from "../netlink/libc.ts";
import { adoptTun, openTun } from "../netlink/tun-file.ts";
import type { Listener, PathFile } from "./messages.ts";
import { adoptUdpSocket, openUdpSocket } from "./udp-socket.ts";

export interface PathSocket extends PathFile {
  readonly family: Family;
}

export interface PathFiles {
  readonly tun: PathFile;
  readonly sockets: readonly PathSocket[];
}

/** Names of the descriptors that a data path has: the same device and listener have the same name in all runs. */
export function fileNames(device: string, listeners: readonly Listener[]): readonly string[] {
  return [deviceName(device), ...listeners.map(listenerName)];
}

function deviceName(device: string): string {
  return `path-${device}`;
}

/** Service managers separate names by colons. */
function listenerName({ address, port }: Listener): string {
  return `path-${address.replaceAll(":", "_")}-${port}`;
}

/** Closes those of `kept` that it cannot use. Throws NetlinkError. */
export function openPathFiles(
  device: string,
  listeners: readonly Listener[],
  kept: ReadonlyMap<string, number>,
): PathFiles {
  const unused = new Map(kept);
  const opened: number[] = [];
  const get = (name: string, adopt: (fd: number) => boolean, open: () => number): PathFile => {
    const known = unused.get(name);
    const isAdopted = known !== undefined && adopt(known);
    if (isAdopted) unused.delete(name);
    const fd = isAdopted ? known : open();
    opened.push(fd);
    return { name, fd, isAdopted };
  };
  try {
    const tun = get(
      deviceName(device),
      (fd) => adoptTun(fd, device),
      () => openTun(device),
    );
    const sockets = listeners.map((listener): PathSocket => {
      const address = Address.parse(listener.address);
      const file = get(
        listenerName(listener),
        (fd) => adoptUdpSocket(fd, address, listener.port),
        () => openUdpSocket(address, listener.port),
      );
      return { ...file, family: address.family };
    });
    return { tun, sockets };
  } catch (error) {
    for (const fd of opened) libc.close(fd);
    throw error;
  } finally {
    for (const fd of unused.values()) libc.close(fd);
  }
}

export function closePathFiles({ tun, sockets }: PathFiles): void {
  for (const { fd } of [...sockets, tun]) libc.close(fd);
}
