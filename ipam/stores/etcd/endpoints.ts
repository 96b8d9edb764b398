/**
 * The etcd servers to use, and whether with TLS.
 *
 * Pure. TLS applies to all endpoints or to none, so that no option about it is silently ignored.
 */

import { ConfigError } from "../../errors.ts";
import { cleanList, type EtcdOptions } from "../options.ts";
import { parseServerAddress } from "../server-address.ts";

export interface EtcdEndpoint {
  /** `host:port`, an IPv6 address in brackets. */
  readonly authority: string;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
}

const RULES = {
  flag: "etcd-endpoints",
  remedy: "write https://HOST:PORT or http://HOST:PORT, an IPv6 address in brackets",
  credentials: "etcd-username and etcd-password",
  defaultPort: () => 2379,
  useTls: false,
};

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
  const { isTls, hostname, host, port } = parseServerAddress(text, { ...RULES, hasTlsFiles });
  return { authority: `${hostname}:${port}`, host, port, isTls };
}
