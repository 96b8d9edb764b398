/** Serves /healthz and /readyz with flanneld's own words, and /metrics. Knows nothing of what they mean. */

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { ConfigError, errorMessage } from "../../ipam/errors.ts";
import type { Metrics } from "./metrics.ts";

export interface HealthOptions {
  /** Address to listen on. */
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly isReady: () => boolean;
  readonly metrics: Metrics;
}

export interface HealthServer {
  readonly port: number;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly contentType?: string;
}

/** Starts listening. Throws ConfigError when the address cannot be had. */
export async function serveHealth(options: HealthOptions): Promise<HealthServer> {
  const server = createServer((request, response) => {
    const isRead = request.method === "GET" || request.method === "HEAD";
    const answer = isRead ? answerTo(request.url ?? "", options) : { status: 405, body: "use GET\n" };
    response.writeHead(answer.status, { "content-type": answer.contentType ?? "text/plain; charset=utf-8" });
    response.end(answer.body);
  });
  await listen(server, options);
  const { port } = server.address() as AddressInfo;
  return { port, close: () => close(server) };
}

/** An error here must not end the daemon. */
function answerTo(url: string, options: HealthOptions): Answer {
  try {
    return contentOf(url, options);
  } catch (error) {
    return { status: 500, body: `${errorMessage(error)}\n` };
  }
}

function contentOf(url: string, { isReady, metrics }: HealthOptions): Answer {
  switch (url.split("?", 1)[0]) {
    case "/healthz":
      return { status: 200, body: "flanneld is running" };
    case "/readyz":
      return isReady()
        ? { status: 200, body: "flanneld is ready" }
        : { status: 503, body: "flanneld is not ready yet" };
    case "/metrics":
      return { status: 200, body: metrics.render(), contentType: "text/plain; version=0.0.4; charset=utf-8" };
    default:
      return { status: 404, body: "there are /healthz, /readyz and /metrics\n" };
  }
}

function listen(server: Server, { host, port }: HealthOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      const message = `healthz-port ${port} on ${host} cannot be used: ${errorMessage(error)}; choose another`;
      reject(new ConfigError(message, { cause: error }));
    });
    server.listen(port, host, resolve);
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
