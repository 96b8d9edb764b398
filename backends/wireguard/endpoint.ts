/** Where a peer's tunnel packets go to, and what its lease says of it. Pure. */

import {
  type Address,
  compactPerFamily,
  type Family,
  type PerFamily,
  Prefix,
} from "../../ipam/addresses/ip.ts";
import { lookupField } from "../../ipam/go-json.ts";
import { isJsonObject, type JsonValue } from "../../ipam/json.ts";
import type { Lease } from "../../ipam/leases/lease.ts";
import { parseKey } from "./key.ts";

/**
 * How the families share devices. `separate`: a device for each, whose packets travel in its own family. All others: one
 * device for both, over IPv4, over IPv6, or over what suits each peer.
 */
export const MODES = ["separate", "auto", "ipv4", "ipv6"] as const;
export type Mode = (typeof MODES)[number];

/** Not routed in the public Internet (RFC 1918, RFC 4193). */
const PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"].map((text) =>
  Prefix.parse(text),
);

/** The address to which packets for `family` of a peer are sent; null when there is none in the family that carries them. */
export function outerAddress(
  mode: Mode,
  family: Family,
  theirs: PerFamily<Address>,
  ours: PerFamily<Address>,
): Address | null {
  switch (mode) {
    case "separate":
      return theirs[family] ?? null;
    case "ipv4":
      return theirs[4] ?? null;
    case "ipv6":
      return theirs[6] ?? null;
    case "auto":
      return suitable(theirs, ours);
  }
}

/** flannel's choice: a public IPv4 address, else IPv6 between public addresses, else IPv4. */
function suitable(theirs: PerFamily<Address>, ours: PerFamily<Address>): Address | null {
  const shared = compactPerFamily((family) => (ours[family] === undefined ? undefined : theirs[family]));
  const [first, second] = Object.values(shared);
  if (first === undefined || second === undefined || isPublic(first)) return first ?? null;
  const own = ours[second.family];
  return isPublic(second) && own !== undefined && isPublic(own) ? second : first;
}

function isPublic(address: Address): boolean {
  return !address.isLinkLocal && !PRIVATE.some((prefix) => prefix.contains(address));
}

/** The public key in a lease's backend data; null when there is none. */
export function publicKeyIn(data: JsonValue | undefined): string | null {
  const text = isJsonObject(data) ? lookupField(data, "PublicKey") : null;
  return typeof text === "string" ? parseKey(text) : null;
}

/** The UDP port in a lease's backend data; null for the network's own, as of older flannelds, undefined when it is none. */
export function portIn(data: JsonValue | undefined): number | null | undefined {
  const port = isJsonObject(data) ? (lookupField(data, "Port") ?? 0) : 0;
  if (typeof port !== "number" || !Number.isInteger(port) || port < 0 || port > 65_535) return undefined;
  return port === 0 ? null : port;
}

/** Why a lease's backend data names no peer; null when it does. */
export function dataProblem(lease: Lease, family: Family): string | null {
  if (isReservation(lease, family)) return "it is a reservation, and its host has not joined yet";
  return dataDamage(lease, family);
}

function isReservation({ attrs, storeLeaseId }: Lease, family: Family): boolean {
  return attrs.backendData[family] === undefined && storeLeaseId === null;
}

/** Why the backend data cannot be any host's; null also for a reservation, which has none. */
export function dataDamage(lease: Lease, family: Family): string | null {
  const data = lease.attrs.backendData[family];
  if (isReservation(lease, family)) return null;
  if (publicKeyIn(data) === null)
    return `its BackendData ${JSON.stringify(data ?? null)} holds no PublicKey of 32 bytes in base64`;
  if (portIn(data) === undefined)
    return `its BackendData ${JSON.stringify(data)} holds a Port that is not a UDP port`;
  return null;
}
