/**
 * Calls to Consul: one server at a time, the next one when it fails, a deadline on each.
 *
 * The client library makes the requests; this file adds several servers, a token and certificates that change,
 * cancellation by signal, and errors with a remedy. Independent of keys.
 */

import { EventEmitter } from "node:events";
import type { IncomingMessage } from "node:http";
import type Consul from "consul";
import { errorMessage, StoreError } from "../../errors.ts";
import { readRequiredFile } from "../../files/read.ts";
import { errorFields } from "../../log.ts";
import { diagnose } from "../diagnosis.ts";
import { Latency, SlownessLog } from "../latency.ts";
import type { ConsulOptions, StoreEnvironment } from "../options.ts";
import { isRefusal, refusalOf } from "../tcp-probe.ts";
import { readTlsFiles } from "../tls-files.ts";
import { TlsRenewal } from "../tls-renewal.ts";
import { type Connection, openConnection } from "./connection.ts";
import { type ConsulEndpoint, parseConsulEndpoints } from "./endpoints.ts";
import { type ConsulOperation, connectionText, consulError, isServerFailure, responseOf } from "./errors.ts";
import { canBeToken } from "./token.ts";

/** An attempt at one server; a list of 5,000 leases takes a fiftieth of it. */
const CALL_DEADLINE_MS = 5_000;

/** A server that answers later than this is never used. */
const LONGEST_ANSWER_MS = 30_000;

/** Part of every request; spread it into the library's options. */
export interface CommonOptions {
  readonly ctx: EventEmitter;
  readonly timeout: number;
  readonly token?: string;
  readonly dc?: string;
}

export interface ConsulCall extends ConsulOperation {
  /** True for idempotent calls: they are repeated at another server even if the first may have seen them. */
  readonly isRepeatable: boolean;
  /** For a server without latency. */
  readonly deadlineMs?: number;
  /** True when the server answers only once something changes. */
  readonly isBlocking?: boolean;
  /** HTTP statuses outside 2xx that are an answer here, not a failure. */
  readonly answers?: readonly number[];
  /** Makes the request with the library. */
  readonly send: (consul: Consul, common: CommonOptions) => Promise<unknown>;
}

export interface ConsulReply {
  /** The server that answered. */
  readonly url: string;
  readonly status: number;
  /** X-Consul-Index, null when the answer has none. */
  readonly index: bigint | null;
  readonly body: unknown;
}

export class ConsulClient {
  readonly endpoints: readonly ConsulEndpoint[];
  readonly #options: ConsulOptions;
  readonly #environment: StoreEnvironment;
  readonly #tlsRenewal: TlsRenewal;
  readonly #slowness: SlownessLog;
  readonly #latencies = new Map<ConsulEndpoint, Latency>();
  /** Measurements of servers that did not answer in time. */
  readonly #measurements = new Map<ConsulEndpoint, Connection>();
  #connection: Connection | null = null;
  /** The last server refused the connection: a cheap TCP probe precedes the next request. */
  #isRefused = false;
  #redials = 0;
  #index: number;

  constructor(options: ConsulOptions, environment: StoreEnvironment) {
    this.#options = options;
    this.#environment = environment;
    this.#tlsRenewal = new TlsRenewal(options, environment);
    this.#slowness = new SlownessLog(environment.log);
    this.endpoints = parseConsulEndpoints(options);
    // The hosts of a network start with different servers.
    this.#index = Math.floor(environment.random() * this.endpoints.length);
  }

  /** The endpoints as text, for logs and errors. */
  get description(): string {
    return this.endpoints.map((endpoint) => endpoint.url).join(",");
  }

  /** Makes one call, at the next server when one fails; a write moves on only if it was not sent. */
  async call(call: ConsulCall, signal: AbortSignal): Promise<ConsulReply> {
    const failures: unknown[] = [];
    for (let attempt = 0; attempt < this.endpoints.length; attempt += 1) {
      signal.throwIfAborted();
      const connection = await this.#connect(signal);
      try {
        const isLast = attempt === this.endpoints.length - 1;
        return await this.#send(connection, call, isLast ? (this.#environment.patienceMs ?? 0) : 0, signal);
      } catch (error) {
        signal.throwIfAborted();
        failures.push(error);
        if (!isServerFailure(error)) break;
        this.#leave(connection);
        if (!call.isRepeatable && error instanceof StoreError && error.details.outcomeUnknown) break;
      }
    }
    throw mostTelling(failures);
  }

  /** How often redial() was called. */
  get redials(): number {
    return this.#redials;
  }

  /** Of the server that is connected; null when none is, or before its first answer. */
  get roundTripMs(): number | null {
    return this.#connection === null ? null : this.#latencyOf(this.#connection.endpoint).roundTripMs;
  }

  /** Drops all connections; running calls fail. */
  redial(): void {
    this.#redials += 1;
    this.#drop();
  }

  close(): void {
    this.#drop();
    for (const { agent } of this.#measurements.values()) agent.destroy();
  }

  async #send(
    connection: Connection,
    call: ConsulCall,
    leastDeadlineMs: number,
    signal: AbortSignal,
  ): Promise<ConsulReply> {
    const ctx = Object.assign(new EventEmitter(), { includeResponse: true });
    const cancel = () => ctx.emit("cancel");
    const token = this.#token();
    const latency = this.#latencyOf(connection.endpoint);
    const common = {
      ctx,
      timeout: Math.max(latency.deadlineMs(call.deadlineMs ?? CALL_DEADLINE_MS), leastDeadlineMs),
      ...(token ? { token } : {}),
      ...(this.#options.datacenter ? { dc: this.#options.datacenter } : {}),
    };
    const { url } = connection.endpoint;
    const { clock } = this.#environment;
    signal.throwIfAborted();
    signal.addEventListener("abort", cancel, { once: true });
    try {
      if (this.#isRefused) await probeFirst(connection.endpoint);
      const sinceMs = clock.monotonicMs();
      const result = await call.send(connection.consul, common);
      if (!call.isBlocking) {
        latency.note(clock.monotonicMs() - sinceMs);
        this.#slowness.note(url, latency);
      }
      this.#isRefused = false;
      return replyOf(url, result);
    } catch (error) {
      this.#isRefused = isRefusal(connectionText(error));
      signal.throwIfAborted();
      const response = responseOf(error);
      if (response && call.answers?.includes(response.statusCode))
        return replyOf(url, [response, response.body]);
      if (/timed out/.test(connectionText(error))) this.#measure(connection);
      const found = response ? null : await diagnosed(connection.endpoint, error);
      throw consulError(url, call, error, found);
    } finally {
      signal.removeEventListener("abort", cancel);
    }
  }

  #token(): string | undefined {
    const { token, tokenFile } = this.#options;
    return tokenFile ? readToken(tokenFile) : token;
  }

  async #connect(signal: AbortSignal): Promise<Connection> {
    const before = this.#connection;
    if (before?.tls && (await this.#tlsRenewal.isDue(before.tls)) && this.#connection === before)
      this.#drop();
    if (this.#connection) return this.#connection;
    const endpoint = this.endpoints[this.#index];
    if (!endpoint) throw new StoreError("consul: no endpoint");
    const tls = endpoint.isTls ? await readTlsFiles(this.#options, this.#environment.dateMs()) : null;
    signal.throwIfAborted();
    this.#connection ??= openConnection(endpoint, tls, this.#options);
    return this.#connection;
  }

  /** The next call uses the next server, unless another call has left this one already. */
  #leave(connection: Connection): void {
    if (this.#connection !== connection) return;
    this.#drop();
    this.#index = (this.#index + 1) % this.endpoints.length;
  }

  #drop(): void {
    this.#connection?.agent.destroy();
    this.#connection = null;
  }

  #latencyOf(endpoint: ConsulEndpoint): Latency {
    const latency = this.#latencies.get(endpoint) ?? new Latency();
    this.#latencies.set(endpoint, latency);
    return latency;
  }

  /** Finds out, besides other calls, whether a server that did not answer in time is slow. */
  #measure({ endpoint, tls }: Connection): void {
    if (this.#measurements.has(endpoint)) return;
    const { clock, log } = this.#environment;
    const connection = openConnection(endpoint, tls, this.#options);
    const sinceMs = clock.monotonicMs();
    this.#measurements.set(endpoint, connection);
    connection.consul.status
      // The library takes a timeout for each call; the type of this one lacks it.
      .leader({ timeout: LONGEST_ANSWER_MS } as never)
      .catch((error: unknown) => {
        if (responseOf(error) === null) throw error;
      })
      .then(
        () => {
          const latency = new Latency();
          latency.note(clock.monotonicMs() - sinceMs);
          this.#latencies.set(endpoint, latency);
        },
        (error: unknown) =>
          log.debug("consul server does not answer", { ...errorFields(error), url: endpoint.url }),
      )
      .finally(() => {
        connection.agent.destroy();
        this.#measurements.delete(endpoint);
      });
  }
}

function readToken(path: string): string {
  const wrong = (what: string, cause?: unknown): StoreError =>
    new StoreError(`consul-token-file ${path} ${what}`, {
      code: "TULLE_STORE_AUTH",
      retryable: true,
      details: { path, outcomeUnknown: false },
      cause,
    });
  let text: string;
  try {
    text = readRequiredFile(path).trim();
  } catch (error) {
    throw wrong(`cannot be read (${errorMessage(error)}): correct the path or its permissions`, error);
  }
  if (canBeToken(text)) return text;
  throw wrong("holds a line break or another character that no token has: write the token alone into it");
}

/** Throws when the server refuses, which keeps outages cheap. */
async function probeFirst({ host, port }: ConsulEndpoint): Promise<void> {
  const refusal = host === null ? null : await refusalOf({ host, port });
  if (refusal !== null) throw refusal;
}

/** Of several failures the one to report: a wrong answer tells more than none. */
function mostTelling(failures: readonly unknown[]): unknown {
  const isDown = (error: unknown) => error instanceof StoreError && error.code === "TULLE_STORE_UNREACHABLE";
  return failures.find((error) => !isDown(error)) ?? failures.at(-1);
}

async function diagnosed({ host, port, isTls }: ConsulEndpoint, error: unknown): Promise<string | null> {
  return host === null ? null : await diagnose({ host, port, isTls }, connectionText(error));
}

/**
 * With `includeResponse` the library returns the response and the decoded body. A server without a leader answers from
 * its own copy, which may be old.
 */
function replyOf(url: string, result: unknown): ConsulReply {
  const [response, body] = result as [IncomingMessage, unknown];
  if (response.headers["x-consul-knownleader"] === "false") throw noLeader(url);
  const text = String(response.headers["x-consul-index"]);
  return { url, status: response.statusCode ?? 0, index: /^\d+$/.test(text) ? BigInt(text) : null, body };
}

function noLeader(url: string): StoreError {
  return new StoreError(
    `consul at ${url} has no leader: check that most of the Consul servers run and reach each other`,
    { code: "TULLE_STORE_UNREACHABLE", retryable: true, details: { url, outcomeUnknown: false } },
  );
}
