/**
 * subnet.env: how the agent tells the CNI plugin and Docker which subnet this host has.
 *
 * Pure: text in, text out; callers read and write the file.
 */

import {
  FAMILIES,
  type Family,
  type InterfaceAddress,
  type PerFamily,
  Prefix,
  parseInterfaceAddress,
} from "../addresses/ip.ts";
import { CodecError, errorMessage } from "../errors.ts";

export interface SubnetEnv {
  /** The cluster's ranges; the CNI plugin accepts several per family. */
  readonly networks: PerFamily<readonly Prefix[]>;
  /** The first usable address of this host's subnet with the subnet's length. */
  readonly subnets: PerFamily<InterfaceAddress>;
  readonly mtuBytes: number;
  readonly ipMasq: boolean;
}

export type SubnetRanges = Pick<SubnetEnv, "networks" | "subnets">;

const KEYS: Record<Family, { readonly network: string; readonly subnet: string }> = {
  4: { network: "FLANNEL_NETWORK", subnet: "FLANNEL_SUBNET" },
  6: { network: "FLANNEL_IPV6_NETWORK", subnet: "FLANNEL_IPV6_SUBNET" },
};

/** The file's text, in flannel's order. Throws CodecError for what parseSubnetEnv would reject. */
export function formatSubnetEnv(env: SubnetEnv): string {
  const lines = FAMILIES.flatMap((family) => {
    const { network, subnet } = KEYS[family];
    const [networks = [], own] = [env.networks[family], env.subnets[family]];
    return [
      ...(networks.length === 0 ? [] : [`${network}=${networks.join(",")}`]),
      ...(own === undefined ? [] : [`${subnet}=${own.address}/${own.length}`]),
    ];
  });
  const text = [...lines, `FLANNEL_MTU=${env.mtuBytes}`, `FLANNEL_IPMASQ=${env.ipMasq}`, ""].join("\n");
  parseSubnetEnv(text);
  return text;
}

/** Reads the file's text. Throws CodecError that names the missing or wrong key. */
export function parseSubnetEnv(text: string): SubnetEnv {
  const values = readAssignments(text);
  requireKeys(values);
  const mtuBytes = read("FLANNEL_MTU", values, readMtu);
  const ipMasq = read("FLANNEL_IPMASQ", values, readBoolean);
  return { ...readRanges(values), mtuBytes, ipMasq };
}

/**
 * The networks and subnets that the file's text names. It may lack the rest: flanneld finds the subnet of its last run
 * by that key alone, so that files of older agents and of administrators have no more. Throws CodecError.
 */
export function parseSubnetRanges(text: string): SubnetRanges {
  const ranges = readRanges(readAssignments(text));
  if (Object.keys(ranges.subnets).length > 0) return ranges;
  throw new CodecError(`subnet.env: ${KEYS[4].subnet} and ${KEYS[6].subnet} are missing`);
}

function readRanges(values: ReadonlyMap<string, string>): SubnetRanges {
  const networks: Partial<Record<Family, readonly Prefix[]>> = {};
  const subnets: Partial<Record<Family, InterfaceAddress>> = {};
  for (const family of FAMILIES) {
    const { network, subnet } = KEYS[family];
    if (values.has(network)) {
      networks[family] = read(network, values, (list) =>
        list.split(",").map((item) => ofFamily(Prefix.parse(item.trim()), family)),
      );
    }
    if (!values.has(subnet)) continue;
    subnets[family] = read(subnet, values, (item) => {
      const parsed = parseInterfaceAddress(item);
      ofFamily(parsed.address, family);
      return parsed;
    });
  }
  return { networks, subnets };
}

/** The `NAME=value` lines of a file that a shell could read; quotes around a value are dropped, the last of a name wins. */
export function readAssignments(text: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const match = /^\s*(?:export\s+)?([A-Z\d_]+)\s*=\s*(["']?)(.*?)\2\s*$/.exec(line);
    if (match) values.set(match[1] ?? "", match[3] ?? "");
  }
  return values;
}

/** Names all missing keys at once; of a family that has neither key none, unless both families have neither. */
function requireKeys(values: ReadonlyMap<string, string>): void {
  const families = Object.values(KEYS).map(({ network, subnet }) => [network, subnet]);
  const given = families.filter((keys) => keys.some((key) => values.has(key)));
  const needed = [...(given.length > 0 ? given : families).flat(), "FLANNEL_MTU", "FLANNEL_IPMASQ"];
  const missing = needed.filter((key) => !values.has(key));
  if (missing.length === 0) return;
  const are = missing.length === 1 ? "is" : "are";
  throw new CodecError(`subnet.env: ${missing.join(", ")} ${are} missing; restart the agent`);
}

function read<T>(key: string, values: ReadonlyMap<string, string>, convert: (text: string) => T): T {
  const text = values.get(key) ?? "";
  try {
    return convert(text);
  } catch (error) {
    throw new CodecError(`subnet.env: ${key} is "${text}" (${errorMessage(error)}); restart the agent`, {
      details: { path: key },
      cause: error,
    });
  }
}

function ofFamily<T extends { readonly family: Family }>(value: T, family: Family): T {
  if (value.family !== family) throw new CodecError(`not IPv${family}`);
  return value;
}

function readMtu(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new CodecError("not a number of bytes");
  return Number(text);
}

function readBoolean(text: string): boolean {
  if (text !== "true" && text !== "false") throw new CodecError("neither true nor false");
  return text === "true";
}
