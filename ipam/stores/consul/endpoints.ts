/**
 * The Consul servers to use, and whether with TLS.
 *
 * Pure. An address and its port are read as by Consul's programs, except that certificate files for a plaintext
 * address are an error instead of being ignored.
 */

import { ConfigError } from "../../errors.ts";
import { type ConsulOptions, cleanList, withoutCredentials } from "../options.ts";

export interface ConsulEndpoint {
  /** For logs and errors. */
  readonly url: string;
  /** Without brackets; null for a unix socket. */
  readonly host: string | null;
  readonly port: number;
  readonly socketPath: string | null;
  readonly isTls: boolean;
}

const REMEDY = "write HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:///PATH";

/** The endpoints in the order given; ConfigError for none, for a malformed one, and for TLS files without TLS. */
export function parseConsulEndpoints(options: ConsulOptions): readonly ConsulEndpoint[] {
  const endpoints = cleanList(options.addresses).map((text) => parseEndpoint(text, options));
  if (endpoints.length === 0)
    throw new ConfigError("consul-address is empty: give at least one, such as 127.0.0.1:8500");
  return endpoints;
}

function parseEndpoint(text: string, options: ConsulOptions): ConsulEndpoint {
  const [, scheme, rest = ""] = /^(?:([a-z]+):\/\/)?(.*?)\/*$/i.exec(text) ?? [];
  const hasTlsFiles = [options.caFile, options.certFile, options.keyFile].some((file) => file);
  if (scheme === "unix") return unixEndpoint(text, rest);
  const isTls = options.useTls || scheme === "https" || (scheme === undefined && hasTlsFiles);
  if (!isTls && hasTlsFiles) {
    throw new ConfigError(
      `consul-address: ${withoutCredentials(text)} is plaintext although certificate files are given: write https`,
    );
  }
  const url = URL.canParse(`http://${rest}`) ? new URL(`http://${rest}`) : null;
  if (url?.username || url?.password) {
    throw new ConfigError(
      `consul-address: the one at ${url.host} holds a name or password: give consul-http-auth instead`,
    );
  }
  const isKnown = scheme === undefined || scheme === "http" || scheme === "https";
  if (!isKnown || !url?.hostname || url.pathname !== "/" || url.search !== "") {
    throw new ConfigError(`consul-address: "${withoutCredentials(text)}" is not an address: ${REMEDY}`);
  }
  const port = Number(/:(\d+)$/.exec(rest)?.[1] ?? (isTls ? 443 : 80));
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return {
    url: `${isTls ? "https" : "http"}://${url.hostname}:${port}`,
    host,
    port,
    socketPath: null,
    isTls,
  };
}

function unixEndpoint(text: string, path: string): ConsulEndpoint {
  if (!path.startsWith("/"))
    throw new ConfigError(`consul-address: "${withoutCredentials(text)}" is not an address: ${REMEDY}`);
  return { url: `unix://${path}`, host: null, port: 0, socketPath: path, isTls: false };
}
