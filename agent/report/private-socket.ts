/** Unix sockets that only root may open. */

import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { Server } from "node:http";
import { connect } from "node:net";
import { check } from "../../backends/netlink/errors.ts";
import * as libc from "../../backends/netlink/libc.ts";
import { hasCode } from "../../ipam/errors.ts";
import { type Faults, guarded } from "../../ipam/faults.ts";

/** Listens, mode 0600. bind(2) happens within listen(), so that no moment exists in which others may open the socket. */
export async function listenPrivately(server: Server, path: string, backlog?: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    const mask = process.umask(0o177);
    try {
      server.listen({ path }, resolve);
    } finally {
      process.umask(mask);
    }
  });
  if (backlog !== undefined) lengthenQueue(path, backlog);
}

/** What listens on a socket. */
export interface SocketListener {
  close(): Promise<void>;
}

/** How soon a deleted socket is made again. */
const CHECK_MS = 5_000;

/**
 * Listens by `open`, and again whenever the socket's file is gone: after a cleaner of /run has deleted it no process can
 * connect, and the one that listens is not told. A file of another program in its place stays.
 */
export async function keepListening(
  path: string,
  open: () => Promise<SocketListener>,
  faults: Faults,
  checkMs = CHECK_MS,
): Promise<SocketListener> {
  let listener = await open();
  let checked: Promise<void> = Promise.resolve();
  const check = async (): Promise<void> => {
    await checked;
    if (isPresent(path)) return;
    await listener.close();
    listener = await open();
  };
  const note = guarded(faults, `the socket ${path}`, () => {
    const checking = check();
    checked = checking.catch(() => undefined);
    return checking;
  });
  const timer = setInterval(note, checkMs);
  timer.unref();
  return {
    close: async () => {
      clearInterval(timer);
      await checked;
      await listener.close();
    },
  };
}

function isPresent(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** The flags of a listening socket in /proc/net/unix: __SO_ACCEPTCON of linux/net.h. */
const LISTENING = "00010000";

/** Bun has a queue of 512 whatever is asked for. listen(2) called again changes the length of the queue. */
function lengthenQueue(path: string, backlog: number): void {
  const socket = readFileSync("/proc/thread-self/net/unix", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .find(([, , , flags, , , , name]) => flags === LISTENING && name === path);
  const link = `socket:[${socket?.[6]}]`;
  const fd = readdirSync("/proc/self/fd").find((name) => targetOf(`/proc/self/fd/${name}`) === link);
  if (fd !== undefined) check("listen", libc.listen(Number(fd), backlog));
}

/** Null for a descriptor that has been closed meanwhile, as that of the listing itself. */
function targetOf(link: string): string | null {
  try {
    return readlinkSync(link);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return null;
    throw error;
  }
}

/** Whether a process listens on the socket. */
export function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const finish = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => finish(true));
    socket.once("error", () => finish(false));
  });
}
