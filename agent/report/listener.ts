/**
 * The HTTP server behind every listener of the daemon, with bounds on what a client can make it hold: connections,
 * headers, time, and one answer per connection. What a path answers is given by its caller.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { ConfigError, errorMessage, hasCode } from "../../ipam/errors.ts";
import { escapeText } from "../../ipam/escape.ts";
import { type Faults, guarded } from "../../ipam/faults.ts";

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly contentType: string;
}

export interface ListenerLimits {
  readonly connections: number;
  readonly headerBytes: number;
  /** How long a request may take to arrive. */
  readonly requestMs: number;
  /** How long a connection may be silent. */
  readonly idleMs: number;
  /** How long a client may take to read an answer. */
  readonly answerMs: number;
}

/** Prometheus, a kubelet and twenty administrators at the same time need far less. */
export const LIMITS: ListenerLimits = {
  connections: 64,
  headerBytes: 8 << 10,
  requestMs: 5_000,
  idleMs: 10_000,
  answerMs: 30_000,
};

export interface ListenerOptions {
  /** Names the listener for a person: "the control socket". */
  readonly part: string;
  readonly faults: Faults;
  readonly answer: (path: string) => Answer;
}

/** A server that answers GET and HEAD; an error of `answer` becomes a 500. Not listening yet. */
export function createListener({ part, faults, answer }: ListenerOptions, limits = LIMITS): Server {
  return createBoundedServer(
    { part, faults, serve: (request, response) => reply(request, response, answer) },
    limits,
  );
}

export interface BoundedServerOptions {
  readonly part: string;
  readonly faults: Faults;
  /** Called for one request of a connection at a time. An error that it throws is a fault. */
  readonly serve: (request: IncomingMessage, response: ServerResponse) => void;
}

const answerTimers = new WeakMap<ServerResponse, NodeJS.Timeout>();

/** Takes an answer that goes on, a stream of events, out of the limit of time. Its writer watches over slow readers. */
export function withoutTimeLimit(response: ServerResponse): void {
  clearTimeout(answerTimers.get(response));
  response.socket?.setTimeout(0);
}

/** A server with these limits. Not listening yet. */
export function createBoundedServer({ part, faults, serve }: BoundedServerOptions, limits = LIMITS): Server {
  const busy = new WeakSet<object>();
  const serveOne = guarded(faults, part, (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    // Node would hold the answers to requests that are sent ahead (RFC 9112 §9.3.2) until the client reads.
    if (busy.has(socket)) {
      socket.destroy();
      return;
    }
    busy.add(socket);
    const timer = setTimeout(() => socket.destroy(), limits.answerMs);
    timer.unref();
    answerTimers.set(response, timer);
    response.once("close", () => {
      clearTimeout(timer);
      busy.delete(socket);
    });
    serve(request, response);
  });
  const server = createServer(
    {
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.requestMs,
      requestTimeout: limits.requestMs,
      keepAliveTimeout: limits.idleMs,
      connectionsCheckingInterval: 1_000,
    },
    serveOne,
  );
  server.maxConnections = limits.connections;
  server.timeout = limits.idleMs;
  // A failing accept(2), such as EMFILE, costs one connection; without a handler the event would throw.
  server.on("error", (error) => {
    if (server.listening) faults.failed(part, error);
  });
  return server;
}

function reply(
  { method, url = "" }: IncomingMessage,
  response: ServerResponse,
  answer: (path: string) => Answer,
): void {
  const { status, body, contentType } =
    method === "GET" || method === "HEAD" ? answerOrError(url, answer) : text(405, "use GET\n");
  // RFC 9110, section 15.5.6.
  if (status === 405) response.setHeader("allow", "GET, HEAD");
  response.writeHead(status, { "content-type": contentType, "content-length": Buffer.byteLength(body) });
  response.end(method === "HEAD" ? undefined : body);
}

function answerOrError(url: string, answer: (path: string) => Answer): Answer {
  try {
    return answer(url.split("?", 1)[0] ?? "");
  } catch (error) {
    return text(500, `${escapeText(errorMessage(error))}\n`);
  }
}

/** A plain text answer. */
export function text(status: number, body: string): Answer {
  return { status, body, contentType: "text/plain; charset=utf-8" };
}

/**
 * Listens at host and port; answers the port. Rejects with a ConfigError that begins with `what` when it cannot; it may be
 * called again then.
 */
export function listenAt(server: Server, host: string, port: number, what: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const succeed = (): void => {
      server.off("error", fail);
      resolve((server.address() as AddressInfo).port);
    };
    const fail = (error: unknown): void => {
      server.off("listening", succeed);
      // Bun asks whether the port is in use, instead of saying so.
      const reason = hasCode(error, "EADDRINUSE")
        ? "another program listens there (EADDRINUSE)"
        : errorMessage(error);
      const message = `${what} cannot be used: ${reason}; choose another`;
      reject(new ConfigError(message, { cause: error }));
    };
    server.once("listening", succeed);
    server.once("error", fail);
    server.listen(port, host);
  });
}

/** Stops listening and ends all connections. */
export function closeListener(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
