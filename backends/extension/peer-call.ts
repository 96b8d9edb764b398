/** What the commands of the extension backend are told of a host: flannel's variables and standard input. Pure. */

import {
  type Address,
  compactPerFamily,
  entriesOf,
  type Family,
  type PerFamily,
  type Prefix,
} from "../../ipam/addresses/ip.ts";
import { isJsonObject, type JsonValue } from "../../ipam/json.ts";
import type { Lease } from "../../ipam/leases/lease.ts";

/** The call for one peer: SubnetRemove gets what SubnetAdd got. */
export interface PeerCall {
  readonly environment: Readonly<Record<string, string>>;
  /** What the peer's PreStartupCommand printed. */
  readonly input: string;
}

const NAMES: Readonly<
  Record<Family, { readonly network: string; readonly subnet: string; readonly address: string }>
> = {
  4: { network: "NETWORK", subnet: "SUBNET", address: "PUBLIC_IP" },
  6: { network: "IPV6NETWORK", subnet: "IPV6SUBNET", address: "PUBLIC_IPV6" },
};

/** For SubnetAddCommand and SubnetRemoveCommand. */
export function peerCall({ subnets, attrs }: Pick<Lease, "subnets" | "attrs">): PeerCall {
  const data = attrs.backendData[4] ?? attrs.backendData[6];
  return {
    environment: { ...named("subnet", subnets), ...named("address", attrs.publicAddress) },
    input: typeof data === "string" ? data : "",
  };
}

/** For PostStartupCommand. */
export function ownEnvironment(
  networks: PerFamily<Prefix>,
  own: PerFamily<Prefix>,
  addresses: PerFamily<Address>,
): PeerCall["environment"] {
  return { ...named("network", networks), ...named("subnet", own), ...named("address", addresses) };
}

export function isSameCall(a: PeerCall, b: PeerCall): boolean {
  return textOf(a) === textOf(b);
}

/** Whether both are for one subnet, of either family. */
export function sharesSubnet(a: PeerCall, b: PeerCall): boolean {
  return Object.values(NAMES).some(({ subnet }) => {
    const value = a.environment[subnet];
    return value !== undefined && value === b.environment[subnet];
  });
}

/** What `formatCalls` wrote; null for anything else. */
export function parseCalls(text: string): ReadonlyMap<string, PeerCall> | null {
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isJsonObject(root)) return null;
  const calls = Object.entries(root).map(([key, value]) => [key, callIn(value)] as const);
  const valid = calls.flatMap(([key, call]) => (call === null ? [] : [[key, call] as const]));
  return valid.length === calls.length ? new Map(valid) : null;
}

export function formatCalls(calls: ReadonlyMap<string, PeerCall>): string {
  return `${JSON.stringify(Object.fromEntries(calls), null, 2)}\n`;
}

function callIn(value: JsonValue): PeerCall | null {
  if (!isJsonObject(value) || !isJsonObject(value.environment) || typeof value.input !== "string")
    return null;
  const entries = Object.entries(value.environment);
  if (!entries.every((entry): entry is [string, string] => typeof entry[1] === "string")) return null;
  return { environment: Object.fromEntries(entries), input: value.input };
}

function named(name: "network" | "subnet" | "address", values: PerFamily<object>): Record<string, string> {
  const texts = compactPerFamily((family) => values[family]);
  return Object.fromEntries(entriesOf(texts).map(([family, value]) => [NAMES[family][name], String(value)]));
}

function textOf({ environment, input }: PeerCall): string {
  return JSON.stringify([Object.entries(environment).sort(), input]);
}
