/** The UDP and the TCP socket of the name server, with bounds on what clients can make them hold. */

import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { createServer, type Server } from "node:net";
import { filterArrivals, openServerSocket } from "../../backends/netlink/server-socket.ts";
import type { Address } from "../../ipam/addresses/ip.ts";
import { Connections, type Handler, SERVER_OPTIONS } from "./tcp-connection.ts";

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

/** Of all clients. */
const MAX_CONNECTIONS = 256;

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
  const connections = new Connections(handler);
  const server: Server = createServer(SERVER_OPTIONS, (socket) => connections.take(socket));
  server.maxConnections = MAX_CONNECTIONS;
  server.on("error", onError);
  server.listen({ fd, exclusive: true });
  return new Lifetime(fd, () => {
    server.close();
    connections.close();
  });
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
