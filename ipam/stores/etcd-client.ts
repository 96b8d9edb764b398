/**
 * Calls to an etcd cluster: one server at a time, the next one when it fails, a deadline on each.
 *
 * The gRPC stubs are etcd3's; its pool, watcher and lease manager are not used (docs/adr/0003). Knows no keys.
 */

import {
  type Channel,
  ChannelCredentials,
  type Client,
  Channel as GrpcChannel,
  Metadata,
} from "@grpc/grpc-js";
import { Host } from "etcd3/lib/connection-pool.js";
import type * as Rpc from "etcd3/lib/rpc.js";
import { StoreError } from "../errors.ts";
import { type EtcdEndpoint, parseEtcdEndpoints } from "./etcd-endpoints.ts";
import {
  etcdError,
  GrpcStatus,
  grpcStatus,
  isEndpointFailure,
  isStaleToken,
  wasNeverSent,
} from "./etcd-errors.ts";
import type { EtcdOptions, StoreEnvironment } from "./options.ts";
import { readTlsFiles, type TlsMaterial } from "./tls-files.ts";

/** An attempt at one server; a list of 5,000 leases takes a hundredth of it. */
const CALL_DEADLINE_MS = 5_000;

/** Certificate files are looked at again at most this often, and at each new connection. */
const TLS_RECHECK_MS = 10_000;

const CHANNEL_OPTIONS = {
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_http_proxy": 0,
};

/** The calls that tulle makes, by service and method. */
export interface EtcdCalls {
  KV: {
    range: (request: Rpc.IRangeRequest) => Rpc.IRangeResponse;
    txn: (request: Rpc.ITxnRequest) => Rpc.ITxnResponse;
  };
  Lease: {
    leaseGrant: (request: Rpc.ILeaseGrantRequest) => Rpc.ILeaseGrantResponse;
    leaseRevoke: (request: Rpc.ILeaseRevokeRequest) => Rpc.ILeaseRevokeResponse;
  };
  Auth: {
    authenticate: (request: Rpc.IAuthenticateRequest) => Rpc.IAuthenticateResponse;
  };
}
type Service = keyof EtcdCalls;
type Method<S extends Service> = Extract<keyof EtcdCalls[S], string>;
type CallOf<S extends Service, M extends Method<S>> = Extract<EtcdCalls[S][M], (request: never) => unknown>;
type Request<S extends Service, M extends Method<S>> = Parameters<CallOf<S, M>>[0];
type Response<S extends Service, M extends Method<S>> = ReturnType<CallOf<S, M>>;

export type EtcdStream<Q, R> = Rpc.IDuplexStream<Q, R>;

/** A method of a generated stub; gRPC builds them at run time, so their types are stated here. */
type UnaryStub = (
  request: unknown,
  metadata: Metadata,
  options: { deadline: number },
  done: (error: Error | null, response: unknown) => void,
) => { cancel(): void };
type StreamStub = (metadata: Metadata, options: { deadline?: number }) => EtcdStream<unknown, unknown>;

interface Connection {
  readonly endpoint: EtcdEndpoint;
  readonly channel: Channel;
  readonly host: Host;
  readonly tls: TlsMaterial | null;
  token: string | null;
}

export class EtcdClient {
  readonly endpoints: readonly EtcdEndpoint[];
  readonly #options: EtcdOptions;
  readonly #environment: StoreEnvironment;
  #connection: Connection | null = null;
  #index = 0;
  #tlsCheckedMs = Number.NEGATIVE_INFINITY;

  constructor(options: EtcdOptions, environment: StoreEnvironment) {
    this.#options = options;
    this.#environment = environment;
    this.endpoints = parseEtcdEndpoints(options);
  }

  /** The endpoints as text, for logs and errors. */
  get description(): string {
    return this.endpoints.map((endpoint) => endpoint.authority).join(",");
  }

  /** Calls one method, at another endpoint when one fails; a write moves on only if it was never sent. */
  async call<S extends Service, M extends Method<S>>(
    service: S,
    method: M,
    request: Request<S, M>,
    signal: AbortSignal,
  ): Promise<Response<S, M>> {
    const isRead = service === "KV" && method === "range";
    let failure: unknown;
    for (let attempt = 0; attempt < this.endpoints.length; attempt += 1) {
      signal.throwIfAborted();
      try {
        return (await this.#callOnce(service, method, request, signal)) as Response<S, M>;
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
        if (!isEndpointFailure(error)) break;
        this.moveOn();
        if (!isRead && !wasNeverSent(error)) break;
      }
    }
    throw etcdError(this.description, `${service}.${method}`, failure);
  }

  /** Opens a stream at the current endpoint, under the rule that a server without a leader ends it. */
  async stream<Q, R>(
    service: "Watch" | "Lease",
    method: string,
    deadlineMs?: number,
  ): Promise<EtcdStream<Q, R>> {
    const connection = await this.#connect();
    const metadata = (await this.#metadata(connection)).clone();
    metadata.set("hasleader", "true");
    const stub = stubOf<StreamStub>(connection.host.getServiceClient(service), method);
    return stub(
      metadata,
      deadlineMs === undefined ? {} : { deadline: this.#environment.dateMs() + deadlineMs },
    ) as EtcdStream<Q, R>;
  }

  /** Leaves the current endpoint: the next call dials the next one. */
  moveOn(): void {
    this.#drop();
    this.#index = (this.#index + 1) % this.endpoints.length;
  }

  close(): void {
    this.#drop();
  }

  async #callOnce(service: Service, method: string, request: unknown, signal: AbortSignal): Promise<unknown> {
    const connection = await this.#connect();
    try {
      return await unary(
        connection,
        service,
        method,
        request,
        await this.#metadata(connection),
        signal,
        this.#deadline(),
      );
    } catch (error) {
      if (!isStaleToken(error) || connection.token === null) throw error;
      connection.token = null;
      return await unary(
        connection,
        service,
        method,
        request,
        await this.#metadata(connection),
        signal,
        this.#deadline(),
      );
    }
  }

  async #metadata(connection: Connection): Promise<Metadata> {
    const metadata = new Metadata();
    const { username, password } = this.#options;
    if (!username) return metadata;
    connection.token ??= await this.#authenticate(connection, username, password ?? "");
    if (connection.token !== "") metadata.set("token", connection.token);
    return metadata;
  }

  async #authenticate(connection: Connection, name: string, password: string): Promise<string> {
    const signal = AbortSignal.timeout(CALL_DEADLINE_MS);
    try {
      const answer = await unary(
        connection,
        "Auth",
        "authenticate",
        { name, password },
        new Metadata(),
        signal,
        this.#deadline(),
      );
      return (answer as Rpc.IAuthenticateResponse).token;
    } catch (error) {
      // flanneld's behaviour too: credentials given to a cluster that wants none do no harm.
      if (grpcStatus(error) === GrpcStatus.FailedPrecondition) return "";
      throw error;
    }
  }

  async #connect(): Promise<Connection> {
    await this.#dropIfCertificatesChanged();
    if (this.#connection) return this.#connection;
    const endpoint = this.endpoints[this.#index];
    if (!endpoint) throw new StoreError("etcd: no endpoint");
    const tls = endpoint.isTls ? await readTlsFiles(this.#options, this.#environment.dateMs()) : null;
    if (this.#connection) return this.#connection;
    const credentials = tls
      ? ChannelCredentials.createSsl(tls.ca, tls.key, tls.cert)
      : ChannelCredentials.createInsecure();
    const channel = new GrpcChannel(endpoint.authority, credentials, CHANNEL_OPTIONS);
    const host = new Host(endpoint.authority, credentials, { channelOverride: channel });
    this.#connection = { endpoint, channel, host, tls, token: null };
    return this.#connection;
  }

  async #dropIfCertificatesChanged(): Promise<void> {
    const nowMs = this.#environment.clock.monotonicMs();
    const tls = this.#connection?.tls;
    if (!tls || nowMs - this.#tlsCheckedMs < TLS_RECHECK_MS) return;
    this.#tlsCheckedMs = nowMs;
    const files = await readTlsFiles(this.#options, this.#environment.dateMs());
    if (files.fingerprint !== tls.fingerprint) this.#drop();
  }

  #deadline(): number {
    return this.#environment.dateMs() + CALL_DEADLINE_MS;
  }

  #drop(): void {
    this.#connection?.channel.close();
    this.#connection = null;
  }
}

function stubOf<T>(client: Client, method: string): T {
  const stub: unknown = Reflect.get(client, method);
  if (typeof stub !== "function") throw new TypeError(`etcd has no method ${method}`);
  return stub.bind(client) as T;
}

function unary(
  connection: Connection,
  service: Service,
  method: string,
  request: unknown,
  metadata: Metadata,
  signal: AbortSignal,
  deadlineAtMs: number,
): Promise<unknown> {
  const stub = stubOf<UnaryStub>(connection.host.getServiceClient(service), method);
  return new Promise((resolve, reject) => {
    const call = stub(request, metadata, { deadline: deadlineAtMs }, (error, response) => {
      signal.removeEventListener("abort", cancel);
      if (error) reject(error);
      else resolve(response);
    });
    const cancel = () => call.cancel();
    signal.addEventListener("abort", cancel, { once: true });
  });
}
