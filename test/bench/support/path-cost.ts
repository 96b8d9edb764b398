/**
 * CPU time of a packet's path through an overlay. One thread on one core is both ends of several pairs, alternately:
 * it waits only for the kernel's work on that path, so that a low quantile excludes other load on the machine. Every
 * figure contains the same cost of Node and its calls, some tenths of a microsecond each.
 */

import { execFileSync } from "node:child_process";
import process from "node:process";
import koffi from "koffi";
import * as libc from "../../../backends/netlink/libc.ts";
import { NetnsHandle, withNetns } from "../../../backends/netlink/netns.ts";
import type { Overlay } from "./overlays.ts";
import { quantile } from "./report.ts";

/** The lower quartile of many, because only that is free of interruptions. */
export interface PathCost {
  /** A datagram of 64 bytes. */
  readonly datagramNs: number;
  /** 1 MB over TCP. */
  readonly streamNs: number;
}

/** Both ends of a connection, neither of which ever waits. */
interface Ends {
  readonly from: number;
  readonly to: number;
}

/** sys/socket.h; the type of a socket carries SOCK_NONBLOCK. */
const AF_INET = 2;
const SOCK_NONBLOCK = 0o4000;
const STREAM = { type: 1 | SOCK_NONBLOCK, bytes: 1_000_000 };
const DATAGRAM = { type: 2 | SOCK_NONBLOCK, bytes: 64 };
type Kind = typeof STREAM;
/** What connect(2) answers while the other side has not; asm-generic/errno.h. */
const EINPROGRESS = 115;

const PORT = 7777;
const CHUNK = new Uint8Array(65_536);
/** A lost datagram counts as one that took so long. */
const GIVE_UP_MS = 10;

const c = koffi.load(null);
const listen: (fd: number, backlog: number) => number = c.func("int listen(int fd, int backlog)");
const accept4: (fd: number, address: null, length: null, flags: number) => number = c.func(
  "int accept4(int fd, void *address, void *length, int flags)",
);

/** Measures all overlays alternately: `rounds` transfers each, and ten times as many datagrams. */
export function measurePaths(rounds: number, overlays: readonly Overlay[]): readonly PathCost[] {
  return onOneCore(() => {
    const datagrams = lowerQuartiles(DATAGRAM, rounds * 10, overlays);
    const streams = lowerQuartiles(STREAM, rounds, overlays);
    return overlays.map((_, at) => ({
      datagramNs: datagrams[at] ?? Number.NaN,
      streamNs: streams[at] ?? Number.NaN,
    }));
  });
}

function onOneCore<T>(body: () => T): T {
  const bind = (...args: string[]) => execFileSync("taskset", ["-p", ...args], { encoding: "utf8" });
  const before = /: (\w+)$/.exec(bind(String(process.pid)).trim())?.[1] ?? "ffffffff";
  bind("1", String(process.pid));
  try {
    return body();
  } finally {
    bind(before, String(process.pid));
  }
}

function lowerQuartiles(kind: Kind, rounds: number, overlays: readonly Overlay[]): readonly number[] {
  const pairs = overlays.map((overlay) => ({ ends: connectEnds(kind, overlay), taken: [] as number[] }));
  try {
    for (let round = -rounds / 10; round < rounds; round++) {
      for (const { ends, taken } of rotated(pairs, round)) {
        const ms = transfer(kind, ends);
        if (round >= 0) taken.push(ms);
      }
    }
  } finally {
    for (const { ends } of pairs) for (const fd of [ends.from, ends.to]) libc.close(fd);
  }
  return pairs.map(({ taken }) => quantile(taken, 0.25) * 1e6);
}

function rotated<T>(items: readonly T[], by: number): readonly T[] {
  const at = ((Math.floor(by) % items.length) + items.length) % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
}

function connectEnds(kind: Kind, { from, to }: Overlay): Ends {
  const listener = inside(to.netns.path, () => openSocket(kind));
  must("bind", libc.bind(listener, socketAddress("0.0.0.0")));
  if (kind === STREAM) must("listen", listen(listener, 1));
  const sender = inside(from.netns.path, () => openSocket(kind));
  const result = libc.connect(sender, socketAddress(to.address));
  if (result !== -EINPROGRESS) must(`connect to ${to.address}`, result);
  if (kind === DATAGRAM) return { from: sender, to: listener };
  const accepted = acceptSoon(listener);
  libc.close(listener);
  return { from: sender, to: accepted };
}

function acceptSoon(listener: number): number {
  const endMs = performance.now() + 2_000;
  for (;;) {
    const fd = accept4(listener, null, null, SOCK_NONBLOCK);
    if (fd >= 0) return fd;
    if (performance.now() > endMs) throw new Error("nobody connected within 2 s");
  }
}

/** In milliseconds, from the first byte sent to the last one received. */
function transfer({ bytes }: Kind, { from, to }: Ends): number {
  const startMs = performance.now();
  const isOver = (): boolean => bytes === DATAGRAM.bytes && performance.now() - startMs > GIVE_UP_MS;
  for (let sent = 0, received = 0; received < bytes && !isOver(); ) {
    if (sent < bytes) sent += Math.max(0, libc.send(from, CHUNK.subarray(0, bytes - sent)));
    received += Math.max(0, libc.recv(to, CHUNK, 0));
  }
  return performance.now() - startMs;
}

function inside<T>(path: string, body: () => T): T {
  const netns = NetnsHandle.open(path);
  try {
    return withNetns(netns, body);
  } finally {
    netns.close();
  }
}

function openSocket({ type }: Kind): number {
  return must("socket", libc.socket(AF_INET, type, 0));
}

/** struct sockaddr_in, netinet/in.h. */
function socketAddress(address: string): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16LE(AF_INET);
  bytes.writeUInt16BE(PORT, 2);
  bytes.set(address.split(".").map(Number), 4);
  return bytes;
}

function must(call: string, result: number): number {
  if (result < 0) throw new Error(`${call}: error ${-result}`);
  return result;
}
