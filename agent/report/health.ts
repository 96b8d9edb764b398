/** Serves /healthz and /readyz with flanneld's texts, and /metrics. */

import type { Faults } from "../../ipam/faults.ts";
import { type Answer, closeListener, createListener, listenAt, text } from "./listener.ts";
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
  const { host } = options;
  const port = await listenAt(server, host, options.port, `healthz-port ${options.port} on ${host}`);
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
