/** Clients' connections to the name server, with bounds on what they make the server hold. */

import type { Socket } from "node:net";
import type { Transport } from "./message.ts";
import { frame, MessageReader } from "./tcp-frames.ts";

/** Answers a message, null for none. Never rejects. `source` is the address it came from, as text. */
export type Handler = (message: Buffer, source: string, transport: Transport) => Promise<Buffer | null>;

/** Of the server whose connections these are. A client may close its half after its last query. */
export const SERVER_OPTIONS = { noDelay: true, allowHalfOpen: true } as const;

/** How long a client may say nothing. */
const IDLE_MS = 10_000;
/** Queries that are worked on. Those that came with them wait here, all others in the kernel. */
const MAX_QUERIES = 16;

/** Of one client, so that one container cannot keep the others from theirs. */
const MAX_PER_CLIENT = 64;

export class Connections {
  readonly #handler: Handler;
  readonly #sockets = new Set<Socket>();

  constructor(handler: Handler) {
    this.#handler = handler;
  }

  /** Serves the connection, or ends it where its client has enough of them. */
  take(socket: Socket): void {
    const { remoteAddress } = socket;
    const ofClient = [...this.#sockets].filter((each) => each.remoteAddress === remoteAddress);
    if (ofClient.length >= MAX_PER_CLIENT) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    serveConnection(socket, this.#handler);
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** Several queries may be under way; their answers go out as they come (RFC 7766 §6.2.1.1). */
function serveConnection(socket: Socket, handler: Handler): void {
  const connection = new Connection(socket, handler);
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  socket.on("error", () => socket.destroy());
  socket.on("drain", () => connection.drained());
  socket.on("data", (bytes) => connection.read(bytes));
  socket.on("end", () => connection.ended());
}

class Connection {
  readonly #socket: Socket;
  readonly #handler: Handler;
  readonly #source: string;
  readonly #reader = new MessageReader((message) => this.#waiting.push(message));
  readonly #waiting: Buffer[] = [];
  #open = 0;
  /** The client does not read its answers. */
  #isFull = false;
  #hasEnded = false;

  constructor(socket: Socket, handler: Handler) {
    this.#socket = socket;
    this.#handler = handler;
    this.#source = socket.remoteAddress ?? "";
  }

  read(bytes: Buffer): void {
    this.#reader.push(bytes);
    this.#goOn();
  }

  drained(): void {
    this.#isFull = false;
    this.#goOn();
  }

  ended(): void {
    this.#hasEnded = true;
    this.#goOn();
  }

  #goOn(): void {
    while (!this.#isFull && this.#open < MAX_QUERIES) {
      const message = this.#waiting.shift();
      if (message === undefined) break;
      this.#open += 1;
      void this.#answer(message);
    }
    const isIdle = this.#open === 0 && this.#waiting.length === 0;
    if (this.#hasEnded) {
      if (isIdle) this.#socket.end();
    } else if (this.#isFull || this.#open >= MAX_QUERIES || this.#waiting.length > 0) this.#socket.pause();
    else this.#socket.resume();
  }

  async #answer(message: Buffer): Promise<void> {
    const answer = await this.#handler(message, this.#source, "tcp");
    this.#open -= 1;
    if (this.#socket.destroyed) return;
    if (answer === null) {
      this.#socket.destroy();
      return;
    }
    // One that does not read its answers does not get more.
    if (!this.#socket.write(frame(answer))) this.#isFull = true;
    this.#goOn();
  }
}
