/**
 * The network configuration's text from single options, and the check that a daemon would make of it.
 *
 * Pure. Nothing is checked here that the parser or the backend checks.
 */

import type { NetworkConfig } from "../../ipam/config/network-config.ts";
import { parseNetworkConfig } from "../../ipam/config/network-config-parser.ts";
import { ConfigError, UnsupportedError } from "../../ipam/errors.ts";
import type { JsonObject, JsonValue } from "../../ipam/json.ts";
import { requireSupport } from "./network-support.ts";

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
}

/** Whether a range of any family is given. */
export function hasRange({ network, ipv6Network }: Omit<NetworkOptions, "backend">): boolean {
  return network !== undefined || ipv6Network !== undefined;
}

/**
 * flannel's JSON, in the order of its documentation, without what is default. `backendOptions` are the backend's own.
 * Throws ConfigError.
 */
export function networkConfigText(options: NetworkOptions, backendOptions: JsonObject = {}): string {
  return JSON.stringify({
    ...(options.network === undefined && options.ipv6Network !== undefined ? { EnableIPv4: false } : {}),
    ...(options.ipv6Network === undefined ? {} : { EnableIPv6: true }),
    ...(options.nftables ? { EnableNFTables: true } : {}),
    ...present({
      Network: options.network,
      SubnetLen: wholeNumber("--subnet-len", options.subnetLen),
      SubnetMin: options.subnetMin,
      SubnetMax: options.subnetMax,
      IPv6Network: options.ipv6Network,
      IPv6SubnetLen: wholeNumber("--ipv6-subnet-len", options.ipv6SubnetLen),
      IPv6SubnetMin: options.ipv6SubnetMin,
      IPv6SubnetMax: options.ipv6SubnetMax,
    }),
    Backend: { Type: options.backend, ...backendOptions },
  });
}

/**
 * Parses the text and lets its backend check its own options. Options of a backend that only other agents have are
 * not checked. Throws ConfigError.
 */
export function checkNetworkConfig(text: string): NetworkConfig {
  const config = parseNetworkConfig(text);
  try {
    requireSupport(config);
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

/** Throws ConfigError that names the flag. */
export function wholeNumber(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new ConfigError(`${flag} "${text}" is not a whole number: write digits only`);
}
