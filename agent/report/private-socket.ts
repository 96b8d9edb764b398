/** Unix sockets that only root may open. */

import type { Server } from "node:http";
import { connect } from "node:net";

/** Listens, mode 0600. bind(2) happens within listen(), so that no moment exists in which others may open the socket. */
export function listenPrivately(server: Server, path: string, backlog?: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    const mask = process.umask(0o177);
    try {
      server.listen({ path, ...(backlog !== undefined && { backlog }) }, resolve);
    } finally {
      process.umask(mask);
    }
  });
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
