/** Connections to one Consul server, with or without TLS. No request is made here. */

import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import Consul from "consul";
import type { ConsulOptions } from "../options.ts";
import { identityOptions } from "../server-name.ts";
import type { TlsMaterial } from "../tls-files.ts";
import type { ConsulEndpoint } from "./endpoints.ts";

/** TCP keep-alive of idle connections, so that firewalls on the path keep them (tcp(7), TCP_KEEPIDLE). */
const TCP_KEEP_ALIVE_MS = 15_000;

export interface Connection {
  readonly endpoint: ConsulEndpoint;
  readonly consul: Consul;
  readonly agent: HttpAgent;
  readonly tls: TlsMaterial | null;
}

/** Connects at the first request; `agent` holds the sockets. */
export function openConnection(
  endpoint: ConsulEndpoint,
  tls: TlsMaterial | null,
  options: ConsulOptions,
): Connection {
  const shared = {
    keepAlive: true,
    keepAliveMsecs: TCP_KEEP_ALIVE_MS,
    ...(endpoint.socketPath === null ? { host: endpoint.host ?? "" } : { socketPath: endpoint.socketPath }),
  };
  const agent = tls
    ? new HttpsAgent({
        ...shared,
        ...(tls.ca ? { ca: tls.ca } : {}),
        ...(tls.cert && tls.key ? { cert: tls.cert, key: tls.key } : {}),
        ...identityOptions(options.tlsServerName || (endpoint.host ?? "")),
        rejectUnauthorized: options.verifyTls ?? true,
      })
    : new HttpAgent(shared);
  const headers = options.httpAuth
    ? { authorization: `Basic ${Buffer.from(options.httpAuth).toString("base64")}` }
    : {};
  const consul = new Consul({
    host: endpoint.host?.includes(":") ? `[${endpoint.host}]` : (endpoint.host ?? "localhost"),
    port: endpoint.port || 80,
    secure: endpoint.isTls,
    agent,
    ...{ headers },
  });
  return { endpoint, consul, agent, tls };
}
