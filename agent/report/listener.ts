/**
 * The HTTP server behind every listener of the daemon, with bounds on what a client can make it hold: connections,
 * headers, time, and one answer per connection. It knows no paths.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { errorMessage } from "../../ipam/errors.ts";
import { escapeText } from "../../ipam/escape.ts";

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly contentType: string;
}

/** Prometheus, a kubelet and twenty people at a time need far fewer. */
const MAX_CONNECTIONS = 64;
const MAX_HEADER_BYTES = 8 << 10;
/** A request is a few hundred bytes. */
const REQUEST_TIMEOUT_MS = 5_000;
const IDLE_TIMEOUT_MS = 10_000;
/** A client that reads this slowly is cut off. */
const ANSWER_TIMEOUT_MS = 30_000;

/** A server that answers GET and HEAD; an error of `answer` becomes a 500. Not listening yet. */
export function createListener(answer: (path: string) => Answer): Server {
  const busy = new WeakSet<object>();
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: REQUEST_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: IDLE_TIMEOUT_MS,
      connectionsCheckingInterval: 1_000,
    },
    (request, response) => {
      const { socket } = request;
      // Node would hold the answers to requests that are sent ahead (RFC 9112 §9.3.2) until the client reads.
      if (busy.has(socket)) {
        socket.destroy();
        return;
      }
      busy.add(socket);
      const timer = setTimeout(() => socket.destroy(), ANSWER_TIMEOUT_MS);
      timer.unref();
      response.once("close", () => {
        clearTimeout(timer);
        busy.delete(socket);
      });
      reply(request, response, answer);
    },
  );
  server.maxConnections = MAX_CONNECTIONS;
  server.timeout = IDLE_TIMEOUT_MS;
  return server;
}

function reply(
  { method, url = "" }: IncomingMessage,
  response: ServerResponse,
  answer: (path: string) => Answer,
): void {
  const { status, body, contentType } =
    method === "GET" || method === "HEAD" ? answerOrError(url, answer) : text(405, "use GET\n");
  response.writeHead(status, { "content-type": contentType, "content-length": Buffer.byteLength(body) });
  response.end(method === "HEAD" ? undefined : body);
}

/** An error here must not end the daemon. */
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

/** Stops listening and ends all connections. */
export function closeListener(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
