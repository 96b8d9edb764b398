/**
 * Requests to the kernel over netlink, and their answers.
 *
 * The kernel handles a request inside send(2), so its answer waits in the socket when send returns: nothing here
 * blocks or polls. Answers are matched by sequence number; what an aborted exchange left behind is dropped. What
 * messages mean is the business of link.ts, route.ts and their like.
 */

import { Turns } from "../../ipam/turns.ts";
import { EBUSY, EINTR, EMSGSIZE, ENODATA, ENOENT, NetlinkError } from "./errors.ts";
import { forEachMessage, NetlinkMessage, NLM_F_DUMP_INTR, NLMSG_NOOP, stamp } from "./message.ts";
import { errorOf, isFinal } from "./reply.ts";
import { messageTypeName } from "./rtnetlink.ts";
import { DATAGRAM_BYTES, NetlinkSocket, type SocketOptions } from "./socket.ts";

/** How often an interrupted dump is restarted before the caller gets a retryable error. */
const DUMP_ATTEMPTS = 10;

/** What one error answer with its text costs of the receive buffer, at most, by the kernel's reckoning. */
const ANSWER_BYTES = 2048;

export type ConnectionOptions = Omit<SocketOptions, "groups">;

/** Turns an answer into a value; null leaves the message out. It must not use the connection. */
export type Decode<T> = (message: NetlinkMessage) => T | null;

export class NetlinkConnection {
  readonly #socket: NetlinkSocket;
  /** For requestAsync alone, so that its answers never mix with those of synchronous requests. */
  readonly #asyncSocket: NetlinkSocket;
  readonly #sendBuffer = Buffer.allocUnsafe(DATAGRAM_BYTES);
  readonly #receiveBuffer = Buffer.allocUnsafe(DATAGRAM_BYTES);
  readonly #asyncRequests = new Turns();
  #sequence = 0;
  #isBusy = false;

  private constructor(options: ConnectionOptions) {
    this.#socket = NetlinkSocket.open(options);
    this.#asyncSocket = NetlinkSocket.open(options);
  }

  /** Opens a connection in `netns` (default: the calling thread's own namespace). Throws NetlinkError. */
  static open(options: ConnectionOptions = {}): NetlinkConnection {
    return new NetlinkConnection(options);
  }

  /** All port ids in notifications about changes of this connection. */
  get portIds(): readonly number[] {
    return [this.#socket.portId, this.#asyncSocket.portId];
  }

  /** Sends one request and waits for its acknowledgement. Throws NetlinkError. */
  request(message: Uint8Array): void {
    const [error] = this.batch([message]);
    if (error) throw error;
  }

  /** The same on a worker thread, one after another, for requests that take long, such as deleting a link. */
  requestAsync(message: Uint8Array): Promise<void> {
    return this.#asyncRequests.run(() => this.#exchangeAsync(message));
  }

  /** Sends a request that asks for one object and returns it. Throws NetlinkError. */
  get<T>(message: Uint8Array, decode: Decode<T>): T {
    const found = this.#collect(message, decode, true).values[0];
    if (found === undefined) throw new NetlinkError(operationOf(message), ENODATA);
    return found;
  }

  /**
   * Returns every object that a dump request (NLM_F_DUMP) lists; none where the kernel answers ENOENT, as for the main
   * table of a namespace that never had a route of the family. A dump during which the kernel's list changed is
   * restarted; after ten failed attempts it throws a retryable NetlinkError (EINTR).
   */
  dump<T>(message: Uint8Array, decode: Decode<T>): T[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const { values, isInterrupted } = this.#collect(message, decode, false);
      if (!isInterrupted) return values;
    }
    throw new NetlinkError(operationOf(message), EINTR, {
      kernelMessage: "the dump was interrupted each time",
    });
  }

  /**
   * Sends requests in order and returns one result for each: null for success. It is not a transaction: the
   * requests after a failed one are carried out. Only the last of each chunk of at most 64 KiB is acknowledged;
   * the kernel reports errors of the others without being asked.
   */
  batch(messages: readonly Uint8Array[]): (NetlinkError | null)[] {
    const results: (NetlinkError | null)[] = new Array(messages.length).fill(null);
    for (let start = 0; start < messages.length; ) {
      const end = this.#chunkEnd(messages, start);
      this.#sendChunk(messages, start, end, results);
      start = end;
    }
    return results;
  }

  /** Closes the connection, once running asynchronous requests have ended; a second call does nothing. */
  close(): void {
    this.#socket.close();
    // A worker thread may be about to send: its descriptor must not be closed, and taken by others, before.
    void this.#asyncRequests.run(async () => this.#asyncSocket.close());
  }

  /** A chunk ends before its bytes fill the send buffer, or its answers, all errors, the receive buffer. */
  #chunkEnd(messages: readonly Uint8Array[], start: number): number {
    const mostMessages = Math.floor(this.#socket.receiveBufferBytes / ANSWER_BYTES);
    let bytes = 0;
    let end = start;
    for (; end < messages.length && end - start < mostMessages; end++) {
      bytes += messages[end]?.length ?? 0;
      if (bytes > DATAGRAM_BYTES) break;
    }
    return Math.max(end, start + 1);
  }

  #sendChunk(
    messages: readonly Uint8Array[],
    start: number,
    end: number,
    results: (NetlinkError | null)[],
  ): void {
    const first = this.#sequence + 1;
    try {
      this.#exchange(messages.slice(start, end), true, (message) => {
        if (!isFinal(message)) return;
        const index = start + ((message.sequence - first) >>> 0);
        const request = messages[index];
        if (request !== undefined) results[index] = errorOf(message, operationOf(request));
      });
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      // The answers are lost: which of these requests were carried out is unknown.
      for (let index = start; index < end; index++) results[index] ??= error;
    }
  }

  #collect<T>(
    request: Uint8Array,
    decode: Decode<T>,
    wantsAck: boolean,
  ): { values: T[]; isInterrupted: boolean } {
    const values: T[] = [];
    let isInterrupted = false;
    this.#exchange([request], wantsAck, (message) => {
      if ((message.flags & NLM_F_DUMP_INTR) !== 0) isInterrupted = true;
      if (isFinal(message)) {
        const error = errorOf(message, operationOf(request));
        if (error?.errno === EINTR) isInterrupted = true;
        else if (error && (wantsAck || error.errno !== ENOENT)) throw error;
      } else if (message.type !== NLMSG_NOOP) {
        const value = decode(message);
        if (value !== null) values.push(value);
      }
    });
    return { values, isInterrupted };
  }

  /** Sends `requests` as one datagram and visits their answers up to the one that ends the last. */
  #exchange(
    requests: readonly Uint8Array[],
    wantsAck: boolean,
    visit: (message: NetlinkMessage) => void,
  ): void {
    if (this.#isBusy) throw new NetlinkError("send", EBUSY, { kernelMessage: "a request inside a request" });
    this.#isBusy = true;
    let isComplete = false;
    try {
      const first = this.#sequence + 1;
      this.#socket.send(this.#assemble(requests, wantsAck));
      const last = this.#sequence;
      while (!isComplete) {
        isComplete = this.#receive(this.#socket, first, last, visit);
      }
    } finally {
      this.#isBusy = false;
      if (!isComplete) discardAnswers(this.#socket, this.#receiveBuffer);
    }
  }

  async #exchangeAsync(request: Uint8Array): Promise<void> {
    const datagram = Buffer.from(this.#assemble([request], true));
    const sequence = this.#sequence;
    await this.#asyncSocket.sendAsync(datagram);
    let failure: NetlinkError | null = null;
    const visit = (message: NetlinkMessage) => {
      if (isFinal(message)) failure = errorOf(message, operationOf(request));
    };
    while (!this.#receive(this.#asyncSocket, sequence, sequence, visit));
    if (failure !== null) throw failure;
  }

  /** Copies the requests into the send buffer, each with the next sequence number. */
  #assemble(requests: readonly Uint8Array[], wantsAck: boolean): Uint8Array {
    let length = 0;
    for (const [index, request] of requests.entries()) {
      if (length + request.length > DATAGRAM_BYTES) throw new NetlinkError(operationOf(request), EMSGSIZE);
      this.#sendBuffer.set(request, length);
      this.#sequence = (this.#sequence + 1) >>> 0;
      stamp(this.#sendBuffer, length, this.#sequence, wantsAck && index === requests.length - 1);
      length += request.length;
    }
    return this.#sendBuffer.subarray(0, length);
  }

  /** Receives one datagram; true when it held the end of the answer to request `last`. */
  #receive(
    socket: NetlinkSocket,
    first: number,
    last: number,
    visit: (message: NetlinkMessage) => void,
  ): boolean {
    const length = socket.receive(this.#receiveBuffer);
    if (length === 0)
      throw new NetlinkError("recv", ENODATA, { kernelMessage: "no answer", retryable: true });
    let isComplete = false;
    forEachMessage(this.#receiveBuffer, length, (message) => {
      const isOurs = (message.sequence - first) >>> 0 <= (last - first) >>> 0;
      if (!isOurs) return;
      visit(message);
      if (message.sequence === last && isFinal(message)) isComplete = true;
    });
    return isComplete;
  }
}

/** Takes the rest of an aborted exchange out of the socket; a dump that still runs would refuse the next one. */
function discardAnswers(socket: NetlinkSocket, buffer: Uint8Array): void {
  try {
    while (socket.receive(buffer) > 0);
  } catch (error) {
    // The overflow or the closed socket that aborted the exchange has been reported already.
    if (!(error instanceof NetlinkError)) throw error;
  }
}

function operationOf(request: Uint8Array): string {
  return messageTypeName(new NetlinkMessage(request).type);
}
