/** Serves /healthz and /readyz with flanneld's texts, and /metrics. */

import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { ConfigError, errorMessage } from "../../ipam/errors.ts";
import type { Faults } from "../../ipam/faults.ts";
import { type Answer, closeListener, createListener, text } from "./listener.ts";
import type { Metrics } from "./metrics.ts";

export interface HealthOptions {
  /** Address to listen on. */
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
  readonly isReady: () => boolean;
  readonly metrics: Metrics;
  readonly faults: Faults;
}

export interface HealthServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Starts listening. Throws ConfigError when the address is not available. */
export async function serveHealth(options: HealthOptions): Promise<HealthServer> {
  const { faults } = options;
  const part = "the health and metrics listener";
  const server = createListener({ part, faults, answer: (path) => contentOf(path, options) });
  await listen(server, options);
  const { port } = server.address() as AddressInfo;
  return { port, close: () => closeListener(server) };
}

function contentOf(path: string, { isReady, metrics }: HealthOptions): Answer {
  switch (path) {
    case "/healthz":
      return text(200, "flanneld is running");
    case "/readyz":
      return isReady() ? text(200, "flanneld is ready") : text(503, "flanneld is not ready yet");
    case "/metrics":
      return { status: 200, body: metrics.render(), contentType: "text/plain; version=0.0.4; charset=utf-8" };
    default:
      return text(404, "the paths are /healthz, /readyz and /metrics\n");
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
