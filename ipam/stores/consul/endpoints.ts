/**
 * The Consul servers to use, and whether with TLS.
 *
 * Pure. An address and its port are read as by Consul's programs, except that certificate files for a plaintext
 * address are an error instead of being ignored.
 */

import { ConfigError } from "../../errors.ts";
import { type ConsulOptions, cleanList, withoutCredentials } from "../options.ts";
import { parseServerAddress, splitScheme } from "../server-address.ts";

export interface ConsulEndpoint {
  /** For logs and errors. */
  readonly url: string;
  /** Without brackets; null for a unix socket. */
  readonly host: string | null;
  readonly port: number;
  readonly socketPath: string | null;
  readonly isTls: boolean;
}

const RULES = {
  flag: "consul-address",
  remedy: "write HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:///PATH",
  credentials: "consul-http-auth",
  defaultPort: (isTls: boolean) => (isTls ? 443 : 80),
};

/** The endpoints in the order given; ConfigError for none, for a malformed one, and for TLS files without TLS. */
export function parseConsulEndpoints(options: ConsulOptions): readonly ConsulEndpoint[] {
  const endpoints = cleanList(options.addresses).map((text) => parseEndpoint(text, options));
  if (endpoints.length === 0)
    throw new ConfigError("consul-address is empty: give at least one, such as 127.0.0.1:8500");
  return endpoints;
}

function parseEndpoint(text: string, options: ConsulOptions): ConsulEndpoint {
  const { scheme, rest } = splitScheme(text);
  if (scheme === "unix") return unixEndpoint(text, rest);
  const hasTlsFiles = [options.caFile, options.certFile, options.keyFile].some((file) => file);
  const rules = { ...RULES, hasTlsFiles, useTls: options.useTls ?? false };
  const { isTls, hostname, host, port } = parseServerAddress(text, rules);
  return { url: `${isTls ? "https" : "http"}://${hostname}:${port}`, host, port, socketPath: null, isTls };
}

function unixEndpoint(text: string, path: string): ConsulEndpoint {
  if (!path.startsWith("/"))
    throw new ConfigError(`consul-address: "${withoutCredentials(text)}" is not an address: ${RULES.remedy}`);
  return { url: `unix://${path}`, host: null, port: 0, socketPath: path, isTls: false };
}
