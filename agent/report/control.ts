/**
 * The daemon's control socket: HTTP on a unix socket that only root may open, and its client.
 *
 * It passes on as JSON what the daemon gives for each path; no path changes anything.
 */

import { request, type Server } from "node:http";
import { join } from "node:path";
import { errorMessage, hasCode, TulleError } from "../../ipam/errors.ts";
import { escapeJson } from "../../ipam/escape.ts";
import type { Faults } from "../../ipam/faults.ts";
import { makeFolder, removeSocket } from "../../ipam/files/folder.ts";
import { type Answer, closeListener, createListener, text } from "./listener.ts";
import { isAnswered, keepListening, listenPrivately, type SocketListener } from "./private-socket.ts";

const ANSWER_WITHIN_MS = 5_000;

/** What each path answers, as a value for JSON. */
export type ControlRoutes = Readonly<Record<string, () => unknown>>;

export interface ControlServer {
  readonly path: string;
  close(): Promise<void>;
}

export function controlSocketPath(runDir: string): string {
  return join(runDir, "tulled.sock");
}

/**
 * Listens on <runDir>/tulled.sock, mode 0600; a socket without a listener is replaced, and one that is deleted made again. Throws
 * TULLE_ALREADY_RUNNING when a daemon listens there, TULLE_CONFLICT when something else is in its place, TULLE_CONTROL
 * when it cannot be created.
 */
export async function serveControl(
  runDir: string,
  routes: ControlRoutes,
  faults: Faults,
): Promise<ControlServer> {
  const path = controlSocketPath(runDir);
  const listener = await keepListening(path, () => listen(runDir, path, routes, faults), faults);
  return { path, close: listener.close };
}

async function listen(
  runDir: string,
  path: string,
  routes: ControlRoutes,
  faults: Faults,
): Promise<SocketListener> {
  try {
    makeFolder(runDir, 0o755);
    if (await isAnswered(path)) {
      throw new TulleError(
        "TULLE_ALREADY_RUNNING",
        `another daemon answers on ${path}: stop it, or give this one a --run-dir of its own`,
      );
    }
    removeSocket(path);
    const server = createControlServer(routes, faults);
    await listenPrivately(server, path);
    return { close: () => closeListener(server) };
  } catch (error) {
    if (error instanceof TulleError) throw error;
    throw controlError(
      `the control socket ${path} cannot be made: ${errorMessage(error)}; give a --run-dir that can be written`,
      error,
    );
  }
}

/** True when a daemon listens on <runDir>/tulled.sock. */
export function isControlServed(runDir: string): Promise<boolean> {
  return isAnswered(controlSocketPath(runDir));
}

/**
 * Asks the daemon behind <runDir>/tulled.sock, for five seconds at most. Throws TULLE_CONTROL, or what `signal` was
 * aborted with by a person.
 */
export async function askControl(runDir: string, route: string, signal: AbortSignal): Promise<unknown> {
  const path = controlSocketPath(runDir);
  const limited = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]);
  try {
    const { status, body } = await get(path, route, limited);
    if (status === 200) return JSON.parse(body);
    if (status === 404)
      throw new Error(`the tulled that runs is of another version, without ${route}; restart it`);
    throw new Error(body.trim());
  } catch (error) {
    if (signal.aborted && !isTimeout(signal.reason)) throw signal.reason;
    throw controlError(`${path} does not answer: ${reasonOf(error, limited)}`, error);
  }
}

function reasonOf(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) return "a daemon listens there and is silent; restart tulled if it stays so";
  if (hasCode(error, "ENOENT") || hasCode(error, "ECONNREFUSED")) {
    return "no daemon runs there; start tulled, or give its --run-dir";
  }
  return hasCode(error, "EACCES") ? "only root may ask it" : errorMessage(error);
}

/** Of AbortSignal.timeout(). */
function isTimeout(reason: unknown): boolean {
  return reason instanceof Error && reason.name === "TimeoutError";
}

function createControlServer(routes: ControlRoutes, faults: Faults): Server {
  const answer = (path: string): Answer => {
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (route === undefined) return text(404, `this version has ${Object.keys(routes).join(", ")}\n`);
    const body = `${escapeJson(JSON.stringify(route(), jsonValue))}\n`;
    return { status: 200, body, contentType: "application/json" };
  };
  return createListener({ part: "the control socket", faults, answer });
}

function jsonValue(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}

function get(path: string, route: string, signal: AbortSignal): Promise<{ status: number; body: string }> {
  // Node 22 reports this as an uncaught error: the socket fails before it has a listener.
  if (path.includes("\0")) return Promise.reject(new Error("no path has a NUL character"));
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath: path, path: route, signal, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, body: `${Buffer.concat(chunks)}` }),
      );
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

function controlError(message: string, cause: unknown): TulleError {
  return new TulleError("TULLE_CONTROL", message, { cause });
}
