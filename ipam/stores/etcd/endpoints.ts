/**
 * The etcd servers to use, and whether with TLS.
 *
 * Pure. TLS applies to all endpoints or to none, so that no option about it is silently ignored.
 */

import { ConfigError } from "../../errors.ts";
import { cleanList, type EtcdOptions, withoutCredentials } from "../options.ts";

export interface EtcdEndpoint {
  /** `host:port`, an IPv6 address in brackets. */
  readonly authority: string;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
}

/** The endpoints in the order given; ConfigError for none, a malformed one, or a mix of TLS and plaintext. */
export function parseEtcdEndpoints(options: EtcdOptions): readonly EtcdEndpoint[] {
  const hasTlsFiles = [options.caFile, options.certFile, options.keyFile].some((file) => file);
  const endpoints = cleanList(options.endpoints).map((text) => parseEndpoint(text, hasTlsFiles));
  if (endpoints.length === 0)
    throw new ConfigError("etcd-endpoints is empty: give at least one, such as http://127.0.0.1:2379");
  if (new Set(endpoints.map((endpoint) => endpoint.isTls)).size > 1) {
    throw new ConfigError("etcd-endpoints mixes http and https: write https for all of them");
  }
  return endpoints;
}

function parseEndpoint(text: string, hasTlsFiles: boolean): EtcdEndpoint {
  const [, scheme, rest = ""] = /^(?:([a-z]+):\/\/)?(.*?)\/*$/i.exec(text) ?? [];
  const protocol = scheme?.toLowerCase() ?? (hasTlsFiles ? "https" : "http");
  if (protocol !== "http" && protocol !== "https") {
    throw new ConfigError(
      `etcd-endpoints: "${withoutCredentials(text)}" is not an endpoint: write https://HOST:PORT or http://HOST:PORT`,
    );
  }
  if (protocol === "http" && hasTlsFiles) {
    throw new ConfigError(
      `etcd-endpoints: ${withoutCredentials(text)} is plaintext although certificate files are given: write https`,
    );
  }
  const url = URL.canParse(`http://${rest}`) ? new URL(`http://${rest}`) : null;
  if (url?.username || url?.password) {
    throw new ConfigError(
      `etcd-endpoints: the one at ${url.host} holds a name or password: give etcd-username and etcd-password instead`,
    );
  }
  if (!url?.hostname || url.pathname !== "/" || url.search !== "") {
    throw new ConfigError(
      `etcd-endpoints: "${withoutCredentials(text)}" is not an endpoint: write https://HOST:PORT or http://HOST:PORT, an IPv6 address in brackets`,
    );
  }
  const port = /:(\d+)$/.exec(rest)?.[1] ?? "2379";
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return { authority: `${url.hostname}:${port}`, host, port: Number(port), isTls: protocol === "https" };
}
