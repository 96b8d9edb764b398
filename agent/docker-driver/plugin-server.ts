/**
 * Docker's plugin protocol on a unix socket: POST of JSON, answered with JSON, within bounds of size, time and number.
 *
 * Knows no method: the table of its caller does. An unknown path answers 404, by which the engine learns that an
 * optional method is missing. A failed call answers 200 with `Err` (read for network drivers) and `Error` (for IPAM).
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { dirname } from "node:path";
import { ConflictError, errorMessage, TulleError } from "../../ipam/errors.ts";
import { escapeText } from "../../ipam/escape.ts";
import type { Faults } from "../../ipam/faults.ts";
import { makeFolder, removeSocket } from "../../ipam/files/folder.ts";
import type { JsonObject } from "../../ipam/json.ts";
import { errorFields, type Logger } from "../../ipam/log.ts";
import { isAnswered, keepListening, listenPrivately, type SocketListener } from "../report/private-socket.ts";
import { Fields } from "./fields.ts";

/** Answers one method. The signal fires when the time for the answer is over. */
export type PluginMethod = (request: Fields, signal: AbortSignal) => Promise<JsonObject> | JsonObject;

export interface PluginServerOptions {
  readonly path: string;
  /** The flag that names the socket, for an error. */
  readonly flag: string;
  /** Ends the text of a failure that passes; default nothing. */
  readonly retryNote?: string;
  /** By path without the slash: `NetworkDriver.Join`. */
  readonly methods: Readonly<Record<string, PluginMethod>>;
  readonly logger: Logger;
  readonly faults: Faults;
  /** Called after each call of a known method, with the time from the request's first byte to its answer. */
  readonly onCall?: (method: string, outcome: "ok" | "error", durationMs: number) => void;
  readonly limits?: Partial<PluginLimits>;
}

export interface PluginLimits {
  readonly bodyBytes: number;
  readonly connections: number;
  /** From the end of the request to the answer. */
  readonly answerMs: number;
  /** How long a request may take to arrive. */
  readonly requestMs: number;
}

/** Ends the text of a failure that passes; dockerd keeps the text with the container (failed-starts.ts). */
export const RETRIED = "tulled starts containers with a restart policy again";

/**
 * A container that publishes 5,000 ports needs about 1 MB. dockerd opens one connection for each call at a time. While a
 * thousand containers start, a request that has arrived may wait for longer than a few seconds until it is read.
 */
const LIMITS: PluginLimits = { bodyBytes: 4 << 20, connections: 4096, answerMs: 1_700, requestMs: 60_000 };

/** Of connections that wait to be accepted: dockerd starts many containers at once after a boot. */
const BACKLOG = 4096;
const CONTENT_TYPE = "application/vnd.docker.plugins.v1.2+json";
const PART = "the plugin socket";

export interface PluginServer {
  readonly path: string;
  /** Stops listening, ends the connections and removes the socket, so that dockerd does not wait for it. */
  close(): Promise<void>;
}

/**
 * Listens on the socket, mode 0600; a socket without a listener is replaced, and one that is deleted made again. Throws ConflictError when another process
 * listens there or something else is in its place.
 */
export async function servePlugin(options: PluginServerOptions): Promise<PluginServer> {
  const { path, faults } = options;
  const listener = await keepListening(path, () => listen(options), faults);
  return { path, close: listener.close };
}

async function listen(options: PluginServerOptions): Promise<SocketListener> {
  const { path } = options;
  makeFolder(dirname(path), 0o755);
  if (await isAnswered(path))
    throw new ConflictError(`another process serves ${path}: stop it, or give another ${options.flag}`);
  removeSocket(path);
  const server = createPluginServer(options);
  await listenPrivately(server, path, BACKLOG);
  return {
    close: () =>
      new Promise((resolve) => {
        // Node removes the socket when it stops listening, before the connections have ended.
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function createPluginServer(options: PluginServerOptions): Server {
  const { logger, faults } = options;
  const limits = { ...LIMITS, ...options.limits };
  const server = createServer(
    {
      maxHeaderSize: 16 << 10,
      headersTimeout: limits.requestMs,
      requestTimeout: limits.requestMs,
      connectionsCheckingInterval: 1_000,
      // dockerd alone ends an idle connection: it may be about to send its next call by one that ends here. A call that
      // arrived without its body was seen with 20 containers at once, and not since; that this was why is not proven.
      keepAliveTimeout: 0,
    },
    (request, response) => {
      serveCall(request, response, options, limits).catch((error: unknown) => {
        // The connection broke: dockerd repeats the call, or gave up.
        logger.debug("connection of the engine ended early", errorFields(error));
        request.destroy();
      });
    },
  );
  server.maxConnections = limits.connections;
  server.on("error", (error) => {
    if (server.listening) faults.failed(PART, error);
  });
  return server;
}

/** Answers one call. Rejects when the connection breaks. */
async function serveCall(
  request: IncomingMessage,
  response: ServerResponse,
  options: PluginServerOptions,
  limits: PluginLimits,
): Promise<void> {
  const name = (request.url ?? "").slice(1);
  const method = Object.hasOwn(options.methods, name) ? options.methods[name] : undefined;
  if (request.method !== "POST" || method === undefined) {
    request.resume();
    reply(response, 404, failure(`this plugin has no ${escapeText(`${request.method} /${name}`, 80)}`));
    return;
  }
  let outcome: "ok" | "error" = "ok";
  const startMs = performance.now();
  const answer = await answerOf(method, request, limits).catch((error: unknown) => {
    outcome = "error";
    return failedCall(name, error, options);
  });
  reply(response, 200, answer);
  const durationMs = performance.now() - startMs;
  const roundedMs = Math.round(durationMs);
  options.logger.debug("call of the engine", {
    method: name,
    durationMs: roundedMs,
    answer: JSON.stringify(answer),
  });
  options.onCall?.(name, outcome, durationMs);
}

/** The answer to a call that failed. An error without a code is one of the program. */
function failedCall(method: string, error: unknown, { logger, faults, retryNote }: PluginServerOptions) {
  logger.warn("call of the engine failed", { method, ...errorFields(error) });
  if (!(error instanceof TulleError)) faults.failed(`${PART}, ${method}`, error);
  return failure(sentenceOf(error, retryNote));
}

async function answerOf(
  method: PluginMethod,
  request: IncomingMessage,
  limits: PluginLimits,
): Promise<JsonObject> {
  const body = await readBody(request, limits.bodyBytes);
  const fields = Fields.parse(body);
  const late = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const lateness = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = new LateError(limits.answerMs);
      late.abort(error);
      reject(error);
    }, limits.answerMs);
  });
  try {
    return await Promise.race([method(fields, late.signal), lateness]);
  } finally {
    clearTimeout(timer);
  }
}

class LateError extends TulleError {
  constructor(ms: number) {
    super("TULLE_CONTROL", `tulled did not finish within ${ms / 1000} s: see its log, and try again`, {
      retryable: true,
    });
  }
}

function readBody(request: IncomingMessage, limit: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limit) chunks.push(chunk);
    });
    request.on("error", reject);
    request.on("close", () => reject(new Error("the connection ended within a request")));
    request.on("end", () => {
      if (size > limit) reject(new TulleError("TULLE_CODEC", `the request has more than ${limit} bytes`));
      else resolve(Buffer.concat(chunks).toString("utf8"));
    });
  });
}

function failure(text: string): JsonObject {
  return { Err: text, Error: text };
}

/** One sentence for Docker's own output. */
function sentenceOf(error: unknown, retryNote = ""): string {
  const remedy = error instanceof TulleError ? error.details.remedy : undefined;
  const text = typeof remedy === "string" ? `${errorMessage(error)}: ${remedy}` : errorMessage(error);
  const escaped = escapeText(text, 1000);
  const isPassing = error instanceof TulleError && error.retryable && retryNote !== "";
  return isPassing ? `${escaped} (${retryNote})` : escaped;
}

function reply(response: ServerResponse, status: number, answer: JsonObject): void {
  const body = `${JSON.stringify(answer)}\n`;
  response.writeHead(status, { "content-type": CONTENT_TYPE, "content-length": Buffer.byteLength(body) });
  response.end(body);
}
