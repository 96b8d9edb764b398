/**
 * Real Consul for tests: one server or several, on loopback or in namespaces, with or without TLS and access rules.
 *
 * Servers can be killed, started again and hung. The program comes from a Debian package of another suite, which is
 * fetched into the checkout once. Nothing here knows tulle.
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fetchPackage } from "../../deploy/verify/foreign-packages.mjs";
import { type Daemon, freePorts, startDaemon, untilReady } from "./daemon.ts";
import type { Place, TestNetns } from "./netns.ts";

export interface ConsulTestOptions {
  /** Number of servers. Default 1. */
  readonly servers?: number;
  /** One for each server, or one for all; loopback when absent. The servers are asked from the first. */
  readonly places?: readonly Place[];
  /** A unix socket where the first server answers too: it is reached from every network namespace. */
  readonly socketFile?: string;
  /** The server's session_ttl_min. Default a second, Consul's own is ten. */
  readonly shortestTtl?: string;
  /** Access needs a token that allows it; this one allows everything. */
  readonly rootToken?: string;
  /** Paths of PEM files; the API is then served by TLS only, to clients that show a certificate. */
  readonly tls?: { readonly caFile: string; readonly certFile: string; readonly keyFile: string };
}

export interface ConsulServer {
  readonly name: string;
  /** `http://127.0.0.1:PORT`, or https. */
  readonly address: string;
  readonly port: number;
  /** Starts it again where it was; waits until it is served by a leader unless told otherwise. */
  start(options?: { readonly wait: boolean }): Promise<void>;
  kill(): Promise<void>;
  pause(): Promise<void>;
  resume(): void;
}

export interface ConsulCluster {
  readonly servers: readonly ConsulServer[];
  readonly addresses: readonly string[];
  /** Goes with the cluster: room for snapshots. */
  readonly directory: string;
  /** Calls the HTTP API below /v1/ at the first server that answers, as root. Throws for any status but 2xx. */
  api(method: "GET" | "PUT" | "DELETE", path: string, body?: string): Promise<string>;
  /** Runs the command line program against the first server. */
  ctl(...args: readonly string[]): void;
  /** The server that leads now. */
  leader(): Promise<ConsulServer>;
  /** A token that has these rules, written in Consul's rule language. */
  token(rules: string): Promise<string>;
  stop(): Promise<void>;
}

const PACKAGE = { suite: "bullseye", name: "consul" };

/** Null when Consul can run here, else why not. */
export function missingConsul(): string | null {
  try {
    consulProgram();
    return null;
  } catch (error) {
    return `Consul cannot be had: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function consulProgram(): string {
  return join(fetchPackage(PACKAGE.suite, PACKAGE.name), "usr/bin/consul");
}

/** Starts a cluster and waits until it serves. */
export async function startConsul(options: ConsulTestOptions = {}): Promise<ConsulCluster> {
  const directory = mkdtempSync(join(tmpdir(), "tulle-consul-"));
  const plans = await planServers(options, directory);
  const call = callerOf(options);
  const servers = plans.map((plan) => serverOf(plan, call));
  const cluster = clusterOf(servers, call, directory);
  try {
    await Promise.all(servers.map((server) => server.start()));
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  return cluster;
}

interface ServerPlan {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly configFile: string;
  readonly place: Place | undefined;
}

async function planServers(options: ConsulTestOptions, directory: string): Promise<readonly ServerPlan[]> {
  const count = options.servers ?? 1;
  const { places = [] } = options;
  const ports =
    places.length > 0 ? Array.from({ length: 3 * count }, (_, n) => 8500 + n) : await freePorts(3 * count);
  const serfPorts = ports.slice(2 * count);
  const placeOf = (index: number) => places[index % places.length];
  const hostOf = (index: number) => placeOf(index)?.host ?? "127.0.0.1";
  return Array.from({ length: count }, (_, index) => {
    const [port = 0, serverPort = 0] = ports.slice(2 * index);
    const name = `s${index}`;
    const configFile = join(directory, `${name}.json`);
    const config = {
      node_name: name,
      data_dir: join(directory, name),
      ports: { ...apiPorts(options, port), server: serverPort, serf_lan: serfPorts[index], serf_wan: -1 },
      bind_addr: hostOf(index),
      client_addr: hostOf(index),
      retry_join: serfPorts.map((serfPort, other) => `${hostOf(other)}:${serfPort}`),
      bootstrap_expect: count,
      addresses: { http: apiAddresses(options, index, hostOf(index)) },
      session_ttl_min: options.shortestTtl ?? "1s",
      ...accessRules(options),
      ...SERVER_CONFIG,
    };
    writeFileSync(configFile, JSON.stringify(config));
    return {
      name,
      port,
      configFile,
      place: placeOf(index),
      address: `${options.tls ? "https" : "http"}://${hostOf(index)}:${port}`,
    };
  });
}

const SERVER_CONFIG = {
  server: true,
  retry_interval: "200ms",
  performance: { raft_multiplier: 1 },
  // Of a hundred hosts in tests each has three, all from one address.
  limits: { http_max_conns_per_client: 5_000 },
  connect: { enabled: false },
  disable_update_check: true,
  disable_remote_exec: true,
  log_level: "warn",
};

function apiPorts({ tls }: ConsulTestOptions, port: number): Record<string, number> {
  return { dns: -1, grpc: -1, http: tls ? -1 : port, https: tls ? port : -1 };
}

function apiAddresses({ socketFile }: ConsulTestOptions, index: number, host: string): string {
  return socketFile && index === 0 ? `${host} unix://${socketFile}` : host;
}

function accessRules({ rootToken, tls }: ConsulTestOptions): Record<string, unknown> {
  const acl = rootToken && { acl: { enabled: true, default_policy: "deny", tokens: { master: rootToken } } };
  const certificates = tls && {
    ca_file: tls.caFile,
    cert_file: tls.certFile,
    key_file: tls.keyFile,
    verify_incoming_https: true,
  };
  return { ...acl, ...certificates };
}

function serverOf(plan: ServerPlan, call: Caller): ConsulServer {
  let daemon: Daemon | null = null;
  return {
    name: plan.name,
    address: plan.address,
    port: plan.port,
    start: async ({ wait } = { wait: true }) => {
      const started = startDaemon(consulProgram(), ["agent", "-config-file", plan.configFile], {
        netns: plan.place?.netns,
      });
      daemon = started;
      if (!wait) return;
      await untilReady(
        // A consistent read succeeds only once a leader has been confirmed by the others.
        async () => (await call(plan.address, "GET", "kv/?keys&consistent")).status !== 500,
        () => `consul ${plan.name}: ${started.output}`,
      );
    },
    kill: async () => await daemon?.kill(),
    pause: async () => await daemon?.pause(),
    resume: () => daemon?.resume(),
  };
}

function clusterOf(servers: readonly ConsulServer[], call: Caller, directory: string): ConsulCluster {
  const api: ConsulCluster["api"] = async (method, path, body) => {
    let failure: unknown;
    for (const server of servers) {
      try {
        const answer = await call(server.address, method, path, body);
        if (answer.status < 300) return answer.text;
        throw new Error(`consul ${method} ${path}: ${answer.status} ${answer.text}`);
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  };
  return {
    servers,
    addresses: servers.map((server) => server.address),
    directory,
    api,
    ctl: (...args) => {
      const env = { ...process.env, CONSUL_HTTP_ADDR: servers[0]?.address ?? "" };
      execFileSync(consulProgram(), args, { env, stdio: ["ignore", "ignore", "pipe"] });
    },
    leader: async () => {
      const configuration = JSON.parse(await api("GET", "operator/raft/configuration"));
      const name = configuration.Servers.find(({ Leader }: { Leader: boolean }) => Leader)?.Node;
      const leader = servers.find((server) => server.name === name);
      if (!leader) throw new Error("the Consul cluster has no leader");
      return leader;
    },
    token: async (rules) => {
      const Name = `rules-${Math.random().toString(36).slice(2)}`;
      await api("PUT", "acl/policy", JSON.stringify({ Name, Rules: rules }));
      const made = await api("PUT", "acl/token", JSON.stringify({ Policies: [{ Name }] }));
      return JSON.parse(made).SecretID;
    },
    stop: async () => {
      await Promise.all(servers.map((server) => server.kill()));
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

interface Answer {
  readonly status: number;
  readonly text: string;
}
type Caller = (address: string, method: string, path: string, body?: string) => Promise<Answer>;

/** Speaks HTTP or TLS as the servers do; their certificate is not the subject here. */
function callerOf(options: ConsulTestOptions): Caller {
  const [place] = options.places ?? [];
  if (place) return callerIn(place.netns, options);
  const { rootToken, tls } = options;
  const headers = rootToken ? { "x-consul-token": rootToken } : {};
  return (address, method, path, body) =>
    new Promise((resolve, reject) => {
      const options = { method, headers, timeout: 2_000, ...clientCertificate(tls) };
      const send = tls ? httpsRequest : httpRequest;
      const call = send(`${address}/v1/${path}`, options, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
        );
        response.on("error", reject);
      });
      call.on("timeout", () => call.destroy(new Error(`${address} does not answer`)));
      call.on("error", reject);
      call.end(body);
    });
}

/** Makes one request and prints what was answered, as JSON. */
const REQUEST_PROGRAM = `
  const { url, body, ...options } = JSON.parse(process.argv[1]);
  const call = require(url.startsWith("https") ? "https" : "http").request(url, options, (response) => {
    let text = "";
    response.on("data", (chunk) => (text += chunk));
    response.on("end", () => console.log(JSON.stringify({ status: response.statusCode, text })));
  });
  call.on("timeout", () => call.destroy(new Error("no answer")));
  call.end(body);
`;

/** As above, by a program inside a namespace. */
function callerIn(netns: TestNetns, { rootToken, tls }: ConsulTestOptions): Caller {
  const headers = rootToken ? { "x-consul-token": rootToken } : {};
  const pem = (file: string) => readFileSync(file, "utf8");
  const certificate = tls && { cert: pem(tls.certFile), key: pem(tls.keyFile), rejectUnauthorized: false };
  return async (address, method, path, body) => {
    const url = `${address}/v1/${path}`;
    const request = { url, method, body, headers, timeout: 2_000, ...certificate };
    return JSON.parse(netns.exec(process.execPath, ["--eval", REQUEST_PROGRAM, JSON.stringify(request)]));
  };
}

function clientCertificate(tls: ConsulTestOptions["tls"]): Record<string, unknown> {
  if (!tls) return {};
  return {
    cert: readFileSync(tls.certFile),
    key: readFileSync(tls.keyFile),
    rejectUnauthorized: false,
  };
}
