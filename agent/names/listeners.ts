/** The UDP and the TCP socket of the name server, with bounds on what clients can make them hold. */

import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { createServer, type Server, type Socket } from "node:net";
import { filterArrivals, openServerSocket } from "../../backends/netlink/server-socket.ts";
import type { Address } from "../../ipam/addresses/ip.ts";
import type { Transport } from "./message.ts";
import { frame, MessageReader } from "./tcp-frames.ts";

/** Answers a message, null for none. Never rejects. `source` is the address it came from, as text. */
export type Handler = (message: Buffer, source: string, transport: Transport) => Promise<Buffer | null>;

export interface ListenerOptions {
  readonly address: Address;
  readonly port: number;
  /** Indexes of the interfaces by which packets may come in. */
  readonly interfaces: readonly number[];
  readonly handler: Handler;
  /** The socket has failed and is of no use any more. */
  readonly onError: (error: unknown) => void;
}

export interface Listener {
  /** Changes the interfaces by which packets may come in. Throws NetlinkError. */
  setInterfaces(interfaces: readonly number[]): void;
  /** Ends the socket and its connections. */
  close(): void;
}

/** Connections of all clients, and how long one may say nothing. */
const MAX_CONNECTIONS = 256;
const IDLE_MS = 10_000;
/** Queries of one connection that are worked on; more wait in the kernel. */
const MAX_QUERIES = 16;

/** Throws NetlinkError when the address cannot be had. */
export function listenUdp({ address, port, interfaces, handler, onError }: ListenerOptions): Listener {
  const fd = openServerSocket({ transport: "udp", address, port, interfaces });
  const socket: UdpSocket = createSocket("udp4");
  const lifetime = new Lifetime(fd, () => socket.close());
  socket.on("error", onError);
  socket.on("message", async (message, source) => {
    const answer = await handler(message, source.address, "udp");
    // A client that is gone, or a queue that is full: it asks again.
    if (answer !== null && lifetime.isOpen) socket.send(answer, source.port, source.address, () => {});
  });
  socket.bind({ fd, exclusive: true });
  return lifetime;
}

/** Throws NetlinkError when the address cannot be had. */
export function listenTcp({ address, port, interfaces, handler, onError }: ListenerOptions): Listener {
  const fd = openServerSocket({ transport: "tcp", address, port, interfaces });
  const connections = new Set<Socket>();
  const server: Server = createServer({ noDelay: true }, (socket) => {
    connections.add(socket);
    socket.on("close", () => connections.delete(socket));
    serveConnection(socket, handler);
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on("error", onError);
  server.listen({ fd, exclusive: true });
  return new Lifetime(fd, () => {
    server.close();
    for (const socket of connections) socket.destroy();
  });
}

/** Several queries may be under way; their answers go out as they come (RFC 7766 §6.2.1.1). */
function serveConnection(socket: Socket, handler: Handler): void {
  const source = socket.remoteAddress ?? "";
  let open = 0;
  const reader = new MessageReader(async (message) => {
    open += 1;
    if (open >= MAX_QUERIES) socket.pause();
    const answer = await handler(message, source, "tcp");
    open -= 1;
    if (socket.destroyed) return;
    if (answer === null) socket.destroy();
    // One that does not read its answers does not get more.
    else if (!socket.write(frame(answer))) socket.pause();
    else if (open < MAX_QUERIES) socket.resume();
  });
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  socket.on("error", () => socket.destroy());
  socket.on("drain", () => socket.resume());
  socket.on("data", (bytes) => reader.push(bytes));
}

class Lifetime implements Listener {
  readonly #fd: number;
  readonly #end: () => void;
  #isOpen = true;

  constructor(fd: number, end: () => void) {
    this.#fd = fd;
    this.#end = end;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  setInterfaces(interfaces: readonly number[]): void {
    // The number of a closed descriptor may be another file's.
    if (this.#isOpen) filterArrivals(this.#fd, interfaces);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#end();
  }
}
