/**
 * A client of the Docker Engine API over its unix socket: networks, containers, events.
 *
 * Each call has a deadline, because dockerd may wait for us while we wait for it. Paths carry no version: every engine
 * then speaks its newest, and those of old ones are refused by new ones.
 */

import { statSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { createInterface } from "node:readline";
import { errorMessage, TulleError } from "../../ipam/errors.ts";
import { boundText } from "../../ipam/escape.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../ipam/json.ts";

/** The engine's API does not answer (retryable), or rejected a call. */
export class EngineError extends TulleError {
  /** Of HTTP; null without an answer. */
  readonly status: number | null;

  constructor(message: string, status: number | null, cause?: unknown) {
    super("TULLE_ENGINE", message, { retryable: status === null || status >= 500, cause });
    this.status = status;
  }
}

export interface EngineCall {
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly body?: JsonObject;
}

/** Larger than any list of networks or containers of one host. */
const MAX_BYTES = 64 << 20;

export class EngineClient {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  get socketPath(): string {
    return this.#socketPath;
  }

  /** Which file the socket is: another text for each socket that dockerd makes. Null while there is none. */
  socketFile(): string | null {
    try {
      const { dev, ino, ctimeMs } = statSync(this.#socketPath);
      return `${dev}:${ino}:${ctimeMs}`;
    } catch {
      return null;
    }
  }

  /** The answer's JSON, null for an empty one. Rejects with EngineError within `timeoutMs`. */
  async call({ method, path, body }: EngineCall, timeoutMs: number): Promise<JsonValue> {
    const what = `${method} ${path.split("?", 1)[0]}`;
    const text = body === undefined ? undefined : JSON.stringify(body);
    const timeout = AbortSignal.timeout(timeoutMs);
    try {
      const response = await this.#open(method, path, timeout, text);
      const answer = await readAll(response);
      const status = response.statusCode ?? 0;
      if (status >= 200 && status < 300) return answer === "" ? null : JSON.parse(answer);
      throw new EngineError(`${what}: ${reasonOf(answer)}`, status);
    } catch (error) {
      if (error instanceof EngineError) throw error;
      const reason = timeout.aborted ? `no answer within ${timeoutMs} ms` : errorMessage(error);
      throw new EngineError(`${what} of ${this.#socketPath}: ${reason}`, null, error);
    }
  }

  /**
   * Events as they come, until the connection ends or `signal` fires. Calls `onOpen` when they are followed. With
   * `untilSeconds`, a date in the past: those before it that the engine remembers, the newest few hundred since it started.
   */
  async *events(
    types: readonly string[],
    signal: AbortSignal,
    { onOpen, untilSeconds }: { readonly onOpen?: () => void; readonly untilSeconds?: number },
  ): AsyncGenerator<JsonObject> {
    const filters = encodeURIComponent(JSON.stringify({ type: types }));
    const past = untilSeconds === undefined ? "" : `&since=1&until=${untilSeconds}`;
    try {
      const response = await this.#open("GET", `/events?filters=${filters}${past}`, signal);
      if (response.statusCode !== 200)
        throw new EngineError(`GET /events: ${reasonOf(await readAll(response))}`, response.statusCode ?? 0);
      onOpen?.();
      for await (const line of createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY })) {
        if (line.trim() === "") continue;
        const event: unknown = JSON.parse(line);
        if (isJsonObject(event)) yield event;
      }
    } catch (error) {
      if (error instanceof EngineError) throw error;
      throw new EngineError(`events of ${this.#socketPath}: ${errorMessage(error)}`, null, error);
    }
  }

  #open(
    method: string,
    path: string,
    signal: AbortSignal,
    body: string | undefined = undefined,
  ): Promise<IncomingMessage> {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          socketPath: this.#socketPath,
          method,
          path,
          headers: { host: "docker", ...headers },
          signal,
          agent: false,
        },
        resolve,
      );
      outgoing.on("error", reject);
      outgoing.end(body);
    });
  }
}

function readAll(response: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    response.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_BYTES) response.destroy(new Error(`the answer has more than ${MAX_BYTES} bytes`));
      else chunks.push(chunk);
    });
    response.on("error", reject);
    response.on("end", () => resolve(Buffer.concat(chunks).toString("utf8")));
  });
}

/** The engine's own sentence. */
function reasonOf(answer: string): string {
  try {
    const value: unknown = JSON.parse(answer);
    const message = isJsonObject(value) ? value.message : undefined;
    if (typeof message === "string") return boundText(message, 300);
  } catch {
    // Not JSON: a proxy or another program answers; its text says more than a syntax error.
  }
  return boundText(answer.trim(), 300);
}
