/** From the options of `tulle network create` to a request for a network. Pure. */

import { Address, FAMILIES, type Family, type PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import { AddressError, ConfigError } from "../../ipam/errors.ts";
import type { NetworkRequest, PoolRequest } from "../../ipam/named-networks/contracts.ts";

export interface CreateOptions {
  readonly subnet?: readonly string[];
  readonly ipRange?: readonly string[];
  readonly gateway?: readonly string[];
  readonly exclude?: readonly string[];
  readonly ipv4: boolean;
  readonly ipv6?: true;
  readonly vni?: string;
  readonly mtu?: string;
  readonly internal?: true;
  readonly broadcast?: true;
  readonly label?: readonly string[];
}

/** Throws ConfigError that names the option and the value. */
export function createRequest(name: string, options: CreateOptions): NetworkRequest {
  return {
    name,
    vni: numberOf("--vni", options.vni),
    pools: poolsOf(options),
    isInternal: options.internal ?? false,
    hasBroadcast: options.broadcast ?? false,
    mtuBytes: numberOf("--mtu", options.mtu),
    labels: labelsOf(options.label ?? []),
    options: {},
  };
}

function poolsOf(options: CreateOptions): PerFamily<PoolRequest> {
  const subnets = byFamily("--subnet", options.subnet, prefixOf, ({ family }) => family);
  const ranges = byFamily("--ip-range", options.ipRange, prefixOf, ({ family }) => family);
  const gateways = byFamily("--gateway", options.gateway, addressOf, ({ family }) => family);
  const excluded = (options.exclude ?? []).map((text) => addressOf("--exclude", text));
  const wanted: Readonly<Record<Family, boolean>> = {
    4: options.ipv4,
    6: options.ipv6 === true || subnets[6] !== undefined,
  };
  const pools: Partial<Record<Family, PoolRequest>> = {};
  for (const family of FAMILIES) {
    const pool = {
      subnet: subnets[family] ?? null,
      allocation: ranges[family] ?? null,
      gateway: gateways[family] ?? null,
      excluded: excluded.filter((address) => address.family === family),
    };
    if (wanted[family]) pools[family] = pool;
    else if (
      pool.subnet !== null ||
      pool.allocation !== null ||
      pool.gateway !== null ||
      pool.excluded.length > 0
    )
      throw new ConfigError(
        `an IPv${family} address is given for a network without IPv${family}; give --subnet with an IPv${family} range, or leave it out`,
      );
  }
  return pools;
}

function byFamily<T>(
  option: string,
  texts: readonly string[] = [],
  parse: (option: string, text: string) => T,
  familyOf: (value: T) => Family,
): PerFamily<T> {
  const found: Partial<Record<Family, T>> = {};
  for (const text of texts) {
    const value = parse(option, text);
    const family = familyOf(value);
    if (found[family] !== undefined)
      throw new ConfigError(`${option} is given twice for IPv${family}; give one`);
    found[family] = value;
  }
  return found;
}

function prefixOf(option: string, text: string): Prefix {
  return parsed(option, text, "a range such as 10.9.8.0/24", Prefix.parse);
}

function addressOf(option: string, text: string): Address {
  return parsed(option, text, "an address", Address.parse);
}

function parsed<T>(option: string, text: string, what: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    throw new ConfigError(`${option} "${text}" is not ${what}`, { cause: error });
  }
}

function numberOf(option: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  if (!/^\d{1,8}$/.test(text))
    throw new ConfigError(`${option} "${text}" is not a whole number: write digits only`);
  return Number(text);
}

function labelsOf(texts: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    texts.map((text) => {
      const equals = text.indexOf("=");
      if (equals === 0) throw new ConfigError(`--label "${text}" has no key; write key=value`);
      return equals < 0 ? [text, ""] : [text.slice(0, equals), text.slice(equals + 1)];
    }),
  );
}
