/**
 * Calls to an etcd cluster: one server at a time, the next one when it fails.
 *
 * Independent of keys. connection.ts has a single connection.
 */

import { errorMessage, StoreError } from "../../errors.ts";
import { diagnose } from "../diagnosis.ts";
import { type Latency, SlownessLog } from "../latency.ts";
import type { EtcdOptions, StoreEnvironment } from "../options.ts";
import { isRefusal, refusalOf } from "../tcp-probe.ts";
import { TlsRenewal } from "../tls-renewal.ts";
import {
  EtcdConnection,
  type EtcdStreams,
  type Method,
  type Request,
  type Response,
  type Service,
} from "./connection.ts";
import { type EtcdEndpoint, parseEtcdEndpoints } from "./endpoints.ts";
import {
  etcdError,
  isEndpointFailure,
  isLeaseNotFound,
  NeverSentError,
  UnavailableError,
  wasNeverSent,
} from "./errors.ts";

const KEEP_ALIVE_DEADLINE_MS = 3_000;

/** A server that is not connected by then is down, hung, slow or behind a firewall: the next one may be better. */
const CONNECT_DEADLINE_MS = 2_000;

export type WatchStream = EtcdStreams["Watch"]["watch"];

/** A stream, how slow its server is, and how to leave that server. */
export interface OpenWatch {
  readonly stream: WatchStream;
  readonly latency: Latency;
  leave(): void;
}

export class EtcdClient {
  readonly endpoints: readonly EtcdEndpoint[];
  readonly #options: EtcdOptions;
  readonly #environment: StoreEnvironment;
  readonly #tlsRenewal: TlsRenewal;
  readonly #streams = new Set<WatchStream>();
  readonly #slowness: SlownessLog;
  /** Connections that were not ready in time and may be later: those of slow servers. At most one for each server. */
  readonly #late = new Map<EtcdEndpoint, EtcdConnection>();
  #connection: EtcdConnection | null = null;
  /** The last endpoint refused the connection: a cheap TCP probe precedes the next channel. */
  #isRefused = false;
  #redials = 0;
  #index: number;

  constructor(options: EtcdOptions, environment: StoreEnvironment) {
    this.#options = options;
    this.#environment = environment;
    this.#tlsRenewal = new TlsRenewal(options, environment);
    this.#slowness = new SlownessLog(environment.log);
    this.endpoints = parseEtcdEndpoints(options);
    // The hosts of a network start with different members.
    this.#index = Math.floor(environment.random() * this.endpoints.length);
  }

  /** How often redial() was called. */
  get redials(): number {
    return this.#redials;
  }

  /** Of the server that is connected; null when none is, or before its first answer. */
  get roundTripMs(): number | null {
    return this.#connection?.latency.roundTripMs ?? null;
  }

  /** The deadline for what takes `baseMs` at a server without latency. */
  deadlineMs(baseMs: number): number {
    return this.#connection?.latency.deadlineMs(baseMs) ?? baseMs;
  }

  /** The endpoints as text, for logs and errors. */
  get description(): string {
    return this.endpoints.map((endpoint) => endpoint.authority).join(",");
  }

  /** Makes an idempotent call, at one endpoint after the other until one answers within `deadlineMs`. */
  async read<S extends Service, M extends Method<S>>(
    service: S,
    method: M,
    request: Request<S, M>,
    signal: AbortSignal,
    deadlineMs?: number,
  ): Promise<Response<S, M>> {
    return await this.#anywhere(
      `${service}.${method}`,
      (connection) => connection.call(service, method, request, signal, deadlineMs),
      () => true,
      signal,
    );
  }

  /** As `read`, but moves to the next endpoint only while the request has certainly not been sent. */
  async write<S extends Service, M extends Method<S>>(
    service: S,
    method: M,
    request: Request<S, M>,
    signal: AbortSignal,
  ): Promise<Response<S, M>> {
    return await this.#anywhere(
      `${service}.${method}`,
      (connection) => connection.call(service, method, request, signal),
      wasNeverSent,
      signal,
    );
  }

  /** Extends the store lease `ID`; returns its seconds, 0 when it is gone. */
  async keepLease(ID: string, signal: AbortSignal): Promise<number> {
    const keep = (connection: EtcdConnection) =>
      connection.withToken(() => keepLeaseAt(connection, ID, signal));
    return await this.#anywhere("Lease.leaseKeepAlive", keep, () => true, signal);
  }

  /** Opens the stream of changes at the current endpoint. */
  async watch(signal: AbortSignal): Promise<OpenWatch> {
    const connection = await this.#connect();
    try {
      await connection.connect(CONNECT_DEADLINE_MS, signal);
      const stream = await connection.stream("Watch", "watch", signal);
      this.#streams.add(stream);
      stream.on("status", () => this.#streams.delete(stream));
      const { latency } = connection;
      return { stream, latency, leave: () => this.#leave(connection) };
    } catch (error) {
      signal.throwIfAborted();
      this.#leave(connection);
      throw etcdError(this.description, "Watch.watch", [error]);
    }
  }

  /** Drops all connections; streams end. */
  redial(): void {
    this.#redials += 1;
    this.close();
    for (const stream of this.#streams) stream.cancel();
  }

  /** Ends the connection. Streams that are open stay until they are left. */
  close(): void {
    this.#connection?.close();
    this.#connection = null;
    for (const connection of this.#late.values()) connection.close();
    this.#late.clear();
  }

  async #anywhere<T>(
    operation: string,
    use: (connection: EtcdConnection) => Promise<T>,
    mayRepeat: (error: unknown) => boolean,
    signal: AbortSignal,
  ): Promise<T> {
    const { clock } = this.#environment;
    const failures: unknown[] = [];
    for (let attempt = 0; attempt < this.endpoints.length; attempt += 1) {
      signal.throwIfAborted();
      const connection = await this.#connect();
      try {
        if (this.#isRefused) await probeFirst(connection.endpoint);
        await connection.connect(this.#connectDeadlineMs(attempt), signal);
        const sinceMs = clock.monotonicMs();
        const answer = await use(connection);
        connection.latency.note(clock.monotonicMs() - sinceMs);
        this.#dropLate(connection.endpoint);
        this.#slowness.note(connection.endpoint.authority, connection.latency);
        this.#isRefused = false;
        return answer;
      } catch (error) {
        this.#isRefused = isRefusal(errorMessage(error));
        signal.throwIfAborted();
        // Before the diagnosis, during which other calls would use it.
        if (isEndpointFailure(error)) this.#leave(connection);
        failures.push(await explained(error, connection.endpoint));
        signal.throwIfAborted();
        if (!isEndpointFailure(error) || !mayRepeat(error)) break;
      }
    }
    throw etcdError(this.description, operation, failures);
  }

  async #connect(): Promise<EtcdConnection> {
    const before = this.#connection;
    if (before?.tls && (await this.#tlsRenewal.isDue(before.tls)) && this.#connection === before)
      this.close();
    if (this.#connection) return this.#connection;
    const endpoint = this.endpoints[this.#index];
    if (!endpoint) throw new StoreError("etcd: no endpoint");
    this.#connection = this.#takeLate(endpoint);
    if (this.#connection) return this.#connection;
    const opened = await EtcdConnection.open(endpoint, this.#options, this.#environment);
    this.#connection ??= opened;
    return this.#connection;
  }

  /** The next call connects to the next endpoint, unless this connection has been left already. */
  #leave(connection: EtcdConnection): void {
    if (this.#connection !== connection) return;
    const { endpoint } = connection;
    this.#connection = null;
    this.#index = (this.#index + 1) % this.endpoints.length;
    if (connection.isConnecting && !this.#late.has(endpoint)) this.#late.set(endpoint, connection);
    else connection.close();
  }

  /** The connection to a slow server that has become ready since it was left. */
  #takeLate(endpoint: EtcdEndpoint): EtcdConnection | null {
    const connection = this.#late.get(endpoint);
    if (connection === undefined || connection.isConnecting) return null;
    this.#late.delete(endpoint);
    if (connection.isFresh) return connection;
    connection.close();
    return null;
  }

  /** The server answers at another connection: at the next outage this one would be as dead, and not known to be. */
  #dropLate(endpoint: EtcdEndpoint): void {
    this.#late.get(endpoint)?.close();
    this.#late.delete(endpoint);
  }

  #connectDeadlineMs(attempt: number): number {
    const isLast = attempt === this.endpoints.length - 1;
    return Math.max(CONNECT_DEADLINE_MS, isLast ? (this.#environment.patienceMs ?? 0) : 0);
  }
}

/** Throws NeverSentError when the endpoint refuses, which keeps outages cheap. */
async function probeFirst(endpoint: EtcdEndpoint): Promise<void> {
  const refusal = await refusalOf(endpoint);
  if (refusal !== null) throw new NeverSentError(refusal.message);
}

/** The failure, or its cause as diagnosed when no connection was made. */
async function explained(failure: unknown, endpoint: EtcdEndpoint): Promise<unknown> {
  if (!wasNeverSent(failure)) return failure;
  const found = await diagnose(endpoint, errorMessage(failure));
  return found === null ? failure : new NeverSentError(found);
}

/** One request and one answer on a new stream, because keep-alives are rare. */
async function keepLeaseAt(connection: EtcdConnection, ID: string, signal: AbortSignal): Promise<number> {
  const stream = await connection.stream("Lease", "leaseKeepAlive", signal, KEEP_ALIVE_DEADLINE_MS);
  const cancel = () => stream.cancel();
  signal.addEventListener("abort", cancel, { once: true });
  try {
    return await new Promise<number>((resolve, reject) => {
      stream.on("data", (answer) => resolve(Number(answer.TTL)));
      stream.on("error", reject);
      stream.on("end", () => reject(new UnavailableError("the server closed the keep-alive stream")));
      stream.write({ ID });
    });
  } catch (error) {
    if (isLeaseNotFound(error)) return 0;
    throw error;
  } finally {
    signal.removeEventListener("abort", cancel);
    stream.cancel();
  }
}
