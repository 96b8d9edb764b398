/**
 * One connection to one etcd server: its channel, its certificates and its token.
 *
 * The gRPC stubs are etcd3's; its pool, watcher and lease manager are not used (docs/adr/0003). A connection that
 * fails is discarded; client.ts selects the next server.
 */

import {
  type Channel,
  ChannelCredentials,
  type Client,
  connectivityState,
  Channel as GrpcChannel,
  Metadata,
} from "@grpc/grpc-js";
import { Host } from "etcd3/lib/connection-pool.js";
import type * as Rpc from "etcd3/lib/rpc.js";
import { Latency } from "../latency.ts";
import type { EtcdOptions, StoreEnvironment } from "../options.ts";
import { readTlsFiles, type TlsMaterial } from "../tls-files.ts";
import { TlsCredentials } from "./credentials.ts";
import type { EtcdEndpoint } from "./endpoints.ts";
import { GrpcStatus, grpcStatus, isStaleToken, NeverSentError } from "./errors.ts";

/** One exchange with one server; a page of a listing takes a hundredth of it. */
const CALL_DEADLINE_MS = 5_000;

/** A connection attempt that takes longer will not succeed. */
const LONGEST_CONNECT_MS = 30_000;

/** Of a connection that became ready while another was tried. */
const FRESH_MS = 5_000;

/** The window lets a listing of a megabyte arrive without a round trip for every 64 KiB. */
const CHANNEL_OPTIONS = {
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_http_proxy": 0,
  "grpc-node.flow_control_window": 4 << 20,
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
    leaseTimeToLive: (request: Rpc.ILeaseTimeToLiveRequest) => Rpc.ILeaseTimeToLiveResponse;
  };
  Auth: {
    authenticate: (request: Rpc.IAuthenticateRequest) => Rpc.IAuthenticateResponse;
  };
}

/** The streams that tulle opens, by service and method. */
export interface EtcdStreams {
  Watch: { watch: Rpc.IDuplexStream<Rpc.IWatchRequest, Rpc.IWatchResponse> };
  Lease: { leaseKeepAlive: Rpc.IDuplexStream<Rpc.ILeaseKeepAliveRequest, Rpc.ILeaseKeepAliveResponse> };
}

export type Service = keyof EtcdCalls;
export type Method<S extends Service> = Extract<keyof EtcdCalls[S], string>;
type CallOf<S extends Service, M extends Method<S>> = Extract<EtcdCalls[S][M], (request: never) => unknown>;
export type Request<S extends Service, M extends Method<S>> = Parameters<CallOf<S, M>>[0];
export type Response<S extends Service, M extends Method<S>> = ReturnType<CallOf<S, M>>;

/** A method of a generated stub; gRPC builds stubs at run time, without types. */
type UnaryStub = (
  request: unknown,
  metadata: Metadata,
  options: { deadline: number },
  done: (error: Error | null, response: unknown) => void,
) => { cancel(): void };
type StreamStub = (metadata: Metadata, options: { deadline?: number }) => unknown;

/** gRPC's channel, and the stubs that use it. */
interface Wire {
  readonly channel: Channel;
  readonly host: Host;
}

type Edges = Pick<StoreEnvironment, "clock" | "dateMs">;

export class EtcdConnection {
  readonly latency = new Latency();
  readonly endpoint: EtcdEndpoint;
  readonly tls: TlsMaterial | null;
  readonly #credentials: ChannelCredentials;
  readonly #options: EtcdOptions;
  readonly #edges: Edges;
  #wire: Wire | null = null;
  /** When the attempt to connect began; null before, and once it has succeeded. */
  #dialedMs: number | null = null;
  /** When the last attempt succeeded. */
  #readyMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;
  #token: Promise<string> | null = null;

  /** Reads the certificates, if there are any. Does not connect. */
  static async open(endpoint: EtcdEndpoint, options: EtcdOptions, edges: Edges): Promise<EtcdConnection> {
    const tls = endpoint.isTls ? await readTlsFiles(options, edges.dateMs()) : null;
    return new EtcdConnection(endpoint, options, tls, edges);
  }

  private constructor(endpoint: EtcdEndpoint, options: EtcdOptions, tls: TlsMaterial | null, edges: Edges) {
    this.#credentials = tls ? new TlsCredentials(endpoint.host, tls) : ChannelCredentials.createInsecure();
    this.endpoint = endpoint;
    this.tls = tls;
    this.#options = options;
    this.#edges = edges;
  }

  /** True when calls can be sent. */
  get isReady(): boolean {
    return this.#state === connectivityState.READY;
  }

  /** True when the server completed the handshakes a moment ago, so that it can be expected to be reached still. */
  get isFresh(): boolean {
    return this.isReady && this.#edges.clock.monotonicMs() - this.#readyMs < FRESH_MS;
  }

  /** True while an attempt to connect may still succeed. */
  get isConnecting(): boolean {
    if (this.#dialedMs === null || this.#state !== connectivityState.CONNECTING) return false;
    return this.#edges.clock.monotonicMs() - this.#dialedMs < LONGEST_CONNECT_MS;
  }

  /**
   * Connects. Resolves when calls can be sent, or when they fail at once with the reason. NeverSentError when the server
   * has not completed the handshakes within `withinMs`: it is down, hung, slow or behind a firewall.
   */
  async connect(withinMs: number, signal: AbortSignal): Promise<void> {
    const { channel } = this.#open();
    const deadline = new Date(this.#edges.dateMs() + withinMs);
    while (true) {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.IDLE) this.#dialed(channel);
      else if (state !== connectivityState.CONNECTING) break;
      if (!(await hasChanged(channel, state, deadline, signal)))
        throw new NeverSentError(`no connection within ${withinMs} ms`);
    }
  }

  #dialed(channel: Channel): void {
    this.#dialedMs = this.#edges.clock.monotonicMs();
    this.#awaitReady(channel);
  }

  /** Measures the time until calls can be sent, also when the caller that dialed waits no longer. */
  #awaitReady(channel: Channel): void {
    const state = channel.getConnectivityState(false);
    const nowMs = this.#edges.clock.monotonicMs();
    if (state === connectivityState.READY) {
      this.latency.note(nowMs - (this.#dialedMs ?? nowMs));
      this.#dialedMs = null;
      this.#readyMs = nowMs;
    } else if (state === connectivityState.IDLE || state === connectivityState.CONNECTING) {
      const deadline = new Date(this.#edges.dateMs() + LONGEST_CONNECT_MS);
      channel.watchConnectivityState(state, deadline, (error) => {
        if (error === undefined) this.#awaitReady(channel);
      });
    }
  }

  /** Calls one method. Rejects with gRPC's error. */
  async call<S extends Service, M extends Method<S>>(
    service: S,
    method: M,
    request: Request<S, M>,
    signal: AbortSignal,
    deadlineMs = CALL_DEADLINE_MS,
  ): Promise<Response<S, M>> {
    return await this.withToken(async () => {
      const metadata = await this.#metadata(signal);
      return (await this.#unary(service, method, request, metadata, signal, deadlineMs)) as Response<S, M>;
    });
  }

  /** Calls `send`, a second time with a new token when the server rejects ours as unknown. */
  async withToken<T>(send: () => Promise<T>): Promise<T> {
    try {
      return await send();
    } catch (error) {
      if (!this.#options.username || !isStaleToken(error)) throw error;
      this.#token = null;
      return await send();
    }
  }

  /**
   * Opens a stream that the server ends when it is cut off from its leader. It ends after `deadlineMs`, if given, and the
   * server's latency.
   */
  async stream<S extends keyof EtcdStreams, M extends Extract<keyof EtcdStreams[S], string>>(
    service: S,
    method: M,
    signal: AbortSignal,
    deadlineMs?: number,
  ): Promise<EtcdStreams[S][M]> {
    const metadata = (await this.#metadata(signal)).clone();
    metadata.set("hasleader", "true");
    const stub = stubOf<StreamStub>(this.#open().host.getServiceClient(service), method);
    const options = deadlineMs === undefined ? {} : { deadline: this.#deadline(deadlineMs) };
    return stub(metadata, options) as EtcdStreams[S][M];
  }

  /** Running calls and streams go on to their end; new ones fail. */
  close(): void {
    this.#isClosed = true;
    this.#wire?.channel.close();
  }

  get #state(): connectivityState | null {
    return this.#wire?.channel.getConnectivityState(false) ?? null;
  }

  #deadline(baseMs: number): number {
    return this.#edges.dateMs() + this.latency.deadlineMs(baseMs);
  }

  /** Created at the first use: it costs more than a TCP probe that finds no listener. */
  #open(): Wire {
    if (this.#isClosed) throw new NeverSentError("the connection has been left");
    if (this.#wire) return this.#wire;
    const { authority } = this.endpoint;
    const channel = new GrpcChannel(authority, this.#credentials, CHANNEL_OPTIONS);
    this.#wire = { channel, host: new Host(authority, this.#credentials, { channelOverride: channel }) };
    return this.#wire;
  }

  async #metadata(signal: AbortSignal): Promise<Metadata> {
    const metadata = new Metadata();
    const { username, password } = this.#options;
    if (!username) return metadata;
    this.#token ??= this.#authenticate(username, password ?? "");
    const token = await this.#token.catch((error: unknown) => {
      this.#token = null;
      throw error;
    });
    signal.throwIfAborted();
    if (token !== "") metadata.set("token", token);
    return metadata;
  }

  async #authenticate(name: string, password: string): Promise<string> {
    const signal = AbortSignal.timeout(this.latency.deadlineMs(CALL_DEADLINE_MS));
    try {
      const answer = await this.#unary("Auth", "authenticate", { name, password }, new Metadata(), signal);
      return (answer as Rpc.IAuthenticateResponse).token;
    } catch (error) {
      // As flanneld: a cluster without authentication ignores credentials.
      if (grpcStatus(error) === GrpcStatus.FailedPrecondition) return "";
      throw error;
    }
  }

  #unary(
    service: Service,
    method: string,
    request: unknown,
    metadata: Metadata,
    signal: AbortSignal,
    deadlineMs = CALL_DEADLINE_MS,
  ): Promise<unknown> {
    const { host } = this.#open();
    const stub = stubOf<UnaryStub>(host.getServiceClient(service), method);
    return new Promise((resolve, reject) => {
      const deadline = this.#deadline(deadlineMs);
      const call = stub(request, metadata, { deadline }, (error, response) => {
        signal.removeEventListener("abort", cancel);
        if (error) reject(error);
        else resolve(response);
      });
      const cancel = () => call.cancel();
      signal.addEventListener("abort", cancel, { once: true });
    });
  }
}

/** False when the state is the same at the deadline. Rejects when the signal fires. */
function hasChanged(
  channel: Channel,
  state: connectivityState,
  deadline: Date,
  signal: AbortSignal,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) return onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    channel.watchConnectivityState(state, deadline, (error) => {
      signal.removeEventListener("abort", onAbort);
      resolve(error === undefined);
    });
  });
}

function stubOf<T>(client: Client, method: string): T {
  const stub: unknown = Reflect.get(client, method);
  if (typeof stub !== "function") throw new TypeError(`etcd has no method ${method}`);
  return stub.bind(client) as T;
}
