/**
 * subnet.env: how the agent tells the CNI plugin and Docker which subnet this host has.
 *
 * Pure text in and out; files are the affair of whoever reads and writes them.
 */

import { CodecError, errorMessage } from "./errors.ts";
import {
  entriesOf,
  type Family,
  type InterfaceAddress,
  type PerFamily,
  Prefix,
  parseInterfaceAddress,
} from "./ip.ts";

export interface SubnetEnv {
  /** The cluster's ranges; the CNI plugin accepts several per family. */
  readonly networks: PerFamily<readonly Prefix[]>;
  /** The first usable address of this host's subnet with the subnet's length. */
  readonly subnets: PerFamily<InterfaceAddress>;
  readonly mtuBytes: number;
  readonly ipMasq: boolean;
}

const KEYS: Record<Family, { readonly network: string; readonly subnet: string }> = {
  4: { network: "FLANNEL_NETWORK", subnet: "FLANNEL_SUBNET" },
  6: { network: "FLANNEL_IPV6_NETWORK", subnet: "FLANNEL_IPV6_SUBNET" },
};

/** The file's text, in flannel's order. */
export function formatSubnetEnv(env: SubnetEnv): string {
  const lines: string[] = [];
  for (const [family, networks] of entriesOf(env.networks)) {
    const subnet = env.subnets[family];
    lines.push(`${KEYS[family].network}=${networks.join(",")}`);
    if (subnet) lines.push(`${KEYS[family].subnet}=${subnet.address}/${subnet.length}`);
  }
  lines.push(`FLANNEL_MTU=${env.mtuBytes}`, `FLANNEL_IPMASQ=${env.ipMasq}`, "");
  return lines.join("\n");
}

/** Reads the file's text. Throws CodecError that names the missing or wrong key. */
export function parseSubnetEnv(text: string): SubnetEnv {
  const values = readAssignments(text);
  const networks: Partial<Record<Family, readonly Prefix[]>> = {};
  const subnets: Partial<Record<Family, InterfaceAddress>> = {};
  for (const family of [4, 6] as const) {
    const { network, subnet } = KEYS[family];
    const networkText = values.get(network);
    const subnetText = values.get(subnet);
    if (networkText === undefined && subnetText === undefined) continue;
    networks[family] = read(network, networkText, (list) =>
      list.split(",").map((item) => ofFamily(Prefix.parse(item.trim()), family)),
    );
    subnets[family] = read(subnet, subnetText, (item) => {
      const parsed = parseInterfaceAddress(item);
      ofFamily(parsed.address, family);
      return parsed;
    });
  }
  if (subnets[4] === undefined && subnets[6] === undefined) {
    throw new CodecError("subnet.env: FLANNEL_SUBNET and FLANNEL_IPV6_SUBNET are missing; restart the agent");
  }
  const mtuBytes = read("FLANNEL_MTU", values.get("FLANNEL_MTU"), readMtu);
  const ipMasq = read("FLANNEL_IPMASQ", values.get("FLANNEL_IPMASQ"), readBoolean);
  return { networks, subnets, mtuBytes, ipMasq };
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

function read<T>(key: string, text: string | undefined, convert: (text: string) => T): T {
  if (text === undefined) throw new CodecError(`subnet.env: ${key} is missing; restart the agent`);
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
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new CodecError("no number of bytes");
  return Number(text);
}

function readBoolean(text: string): boolean {
  if (text !== "true" && text !== "false") throw new CodecError("neither true nor false");
  return text === "true";
}
