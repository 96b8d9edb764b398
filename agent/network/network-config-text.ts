/**
 * The network configuration's text from single options, and the check that a daemon would make of it.
 *
 * Pure. Nothing is checked here that the parser or the backend checks.
 */

import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { parseNetworkConfig } from "../../ipam/config/network-config-parser.ts";
import { ConfigError, UnsupportedError } from "../../ipam/errors.ts";
import type { JsonObject, JsonValue } from "../../ipam/json.ts";
import { optionsOf } from "./network-support.ts";

/** As text, the way a command line gives them; absent ones are not written. */
export interface NetworkOptions {
  readonly network?: string;
  readonly subnetLen?: string;
  readonly subnetMin?: string;
  readonly subnetMax?: string;
  readonly ipv6Network?: string;
  readonly ipv6SubnetLen?: string;
  readonly ipv6SubnetMin?: string;
  readonly ipv6SubnetMax?: string;
  readonly nftables?: true;
  readonly backend: string;
  readonly vni?: string;
  readonly port?: string;
  readonly mtu?: string;
  readonly directRouting?: true;
  readonly gbp?: true;
  readonly learning?: true;
}

/** flannel's JSON, in the order of its documentation, without what is default. Throws ConfigError. */
export function networkConfigText(options: NetworkOptions): string {
  return JSON.stringify({
    ...(options.network === undefined && options.ipv6Network !== undefined ? { EnableIPv4: false } : {}),
    ...(options.ipv6Network === undefined ? {} : { EnableIPv6: true }),
    ...(options.nftables ? { EnableNFTables: true } : {}),
    ...present({
      Network: options.network,
      SubnetLen: number("--subnet-len", options.subnetLen),
      SubnetMin: options.subnetMin,
      SubnetMax: options.subnetMax,
      IPv6Network: options.ipv6Network,
      IPv6SubnetLen: number("--ipv6-subnet-len", options.ipv6SubnetLen),
      IPv6SubnetMin: options.ipv6SubnetMin,
      IPv6SubnetMax: options.ipv6SubnetMax,
    }),
    Backend: present({
      Type: options.backend,
      VNI: number("--vni", options.vni),
      Port: number("--port", options.port),
      MTU: number("--mtu", options.mtu),
      DirectRouting: options.directRouting,
      GBP: options.gbp,
      Learning: options.learning,
    }),
  });
}

/**
 * Parses the text and lets its backend check its own options. Options of a backend that only other agents have are
 * not checked. Throws ConfigError.
 */
export function checkNetworkConfig(text: string): NetworkConfig {
  const config = parseNetworkConfig(text);
  try {
    optionsOf(config);
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
  }
  return config;
}

function present(object: Readonly<Record<string, JsonValue | undefined>>): JsonObject {
  return Object.fromEntries(
    Object.entries(object).flatMap(([key, value]) => (value === undefined ? [] : [[key, value] as const])),
  );
}

function number(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new ConfigError(`${flag} "${text}" is not a whole number`);
}
