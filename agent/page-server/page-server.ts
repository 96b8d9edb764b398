/**
 * The page's HTTP server: its files, a stream of server-sent events, and lists that are fetched when they are shown.
 *
 *     GET  /, /page.css, /page.js, /icon.svg   the page, without data
 *     GET  /api/stream                         the state, then what changes
 *     GET  /api/events, /api/networks          newest events; networks and containers
 *     GET  /api/session                        204 for one that may read
 *     POST /api/session                        gives a cookie for the token in Authorization
 */

import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { errorMessage } from "../../ipam/errors.ts";
import { escapeText, formatJson } from "../../ipam/escape.ts";
import type { Faults } from "../../ipam/faults.ts";
import { createBoundedServer, LIMITS, withoutTimeLimit } from "../report/listener.ts";
import type { Access, Verdict } from "./access.ts";
import type { Capacity } from "./capacity.ts";
import type { PageFiles } from "./page-files.ts";
import type { Watchers } from "./watchers.ts";

export interface PageServerOptions {
  readonly faults: Faults;
  readonly access: Access;
  readonly files: PageFiles;
  readonly watchers: Watchers;
  readonly capacity: Capacity;
  /** The event with the whole state, fresh. */
  readonly wholeState: () => Buffer;
  /** What is answered as JSON, by path. */
  readonly lists: Readonly<Record<string, () => unknown>>;
}

/** Nothing of another origin is loaded or run; nothing inline is run; no other page may frame this one. */
const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-cache",
} as const;
/** What is answered to readers is kept nowhere, and a proxy passes each event on at once (X-Accel-Buffering: nginx). */
const DATA_HEADERS = {
  ...HEADERS,
  "cache-control": "no-store, no-transform",
  "x-accel-buffering": "no",
} as const;

/** Not listening yet. */
export function createPageServer(options: PageServerOptions): Server {
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    try {
      answer(options, request, response);
    } catch (error) {
      if (response.headersSent) response.destroy();
      else sendText(response, 500, escapeText(errorMessage(error)));
      throw error;
    }
  };
  const { capacity } = options;
  const limits = { ...LIMITS, connections: capacity.watchers + capacity.others };
  return createBoundedServer({ part: "the page", faults: options.faults, serve }, limits);
}

function answer(
  options: PageServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): ServerResponse {
  const { access, files } = options;
  const path = request.url?.split("?", 1)[0] ?? "";
  const headers = path.startsWith("/api/") ? DATA_HEADERS : HEADERS;
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  const addressee = access.judgeAddressee(request);
  if (addressee.type === "denied") return deny(response, addressee);
  if (path === "/api/session" && request.method === "POST") return openSession(access, request, response);
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("allow", path === "/api/session" ? "GET, HEAD, POST" : "GET, HEAD");
    return sendText(response, 405, "use GET");
  }
  const file = files.get(path);
  if (file !== undefined) return send(response, 200, file.contentType, file.body, request.method === "HEAD");
  if (!path.startsWith("/api/")) return sendText(response, 404, "the page is at /");
  const reader = access.judgeReader(request);
  if (reader.type === "denied") return deny(response, reader);
  return answerReader(options, path, request.method === "HEAD", response);
}

function answerReader(
  { watchers, wholeState, lists }: PageServerOptions,
  path: string,
  isHead: boolean,
  response: ServerResponse,
): ServerResponse {
  if (path === "/api/session") return response.writeHead(204).end();
  const list = Object.hasOwn(lists, path) ? lists[path] : undefined;
  if (list !== undefined)
    return send(response, 200, "application/json", Buffer.from(formatJson({ list: list() })), isHead);
  if (path !== "/api/stream" || isHead) return sendText(response, 404, "this version has no such path");
  if (watchers.isFull)
    return sendText(response, 503, `there are ${watchers.count} watchers; try again later`);
  withoutTimeLimit(response);
  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
  watchers.add(response, wholeState());
  return response;
}

function openSession(access: Access, request: IncomingMessage, response: ServerResponse): ServerResponse {
  const verdict = access.judgeToken(request);
  if (verdict.type === "denied") return deny(response, verdict);
  return response.writeHead(204, { "set-cookie": access.sessionCookie() }).end();
}

function deny(
  response: ServerResponse,
  { status, text }: Verdict & { readonly type: "denied" },
): ServerResponse {
  if (status === 401) response.setHeader("www-authenticate", 'Bearer realm="tulle"');
  if (status === 429) response.setHeader("retry-after", "60");
  return sendText(response, status, text);
}

function sendText(response: ServerResponse, status: number, text: string): ServerResponse {
  return send(response, status, "text/plain; charset=utf-8", Buffer.from(`${text}\n`), false);
}

function send(
  response: ServerResponse,
  status: number,
  contentType: string,
  body: Buffer,
  isHead: boolean,
): ServerResponse {
  // A body that is not read would be taken for the next request.
  const connection = status >= 400 ? { connection: "close" } : {};
  response.writeHead(status, {
    ...connection,
    "content-type": contentType,
    "content-length": body.length,
  });
  return response.end(isHead ? undefined : body);
}
