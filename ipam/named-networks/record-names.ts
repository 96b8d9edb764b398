/** Names of the records of named networks (named-network.ts). Pure. */

import { Address } from "../addresses/ip.ts";
import type { HostId, NetworkId } from "./named-network.ts";

export const CATALOGUE_RECORD = "named/catalogue";
export const ADDRESSES_FOLDER = "named/addresses/";
export const HOSTS_FOLDER = "named/hosts/";
export const MEMBERS_FOLDER = "named/members/";
export const WANTED_FOLDER = "named/wanted/";

const ID = /^[0-9a-f]{32}$/;

/** True for 32 hexadecimal digits in lower case. */
export function isNetworkId(text: unknown): text is NetworkId {
  return typeof text === "string" && ID.test(text);
}

/** True for 32 hexadecimal digits in lower case. */
export function isHostId(text: unknown): text is HostId {
  return typeof text === "string" && ID.test(text);
}

export function addressFolder(network: NetworkId): string {
  return `${ADDRESSES_FOLDER}${network}/`;
}

export function addressRecord(network: NetworkId, address: Address): string {
  return addressFolder(network) + address.toString();
}

/** What a key below the folder of addresses names; null for another key. */
export function parseAddressRecord(key: string): { network: NetworkId; address: Address } | null {
  const [network, text, ...rest] = key.slice(ADDRESSES_FOLDER.length).split("/");
  const address = Address.parseOrNull(text ?? "");
  if (!isNetworkId(network) || address === null || rest.length > 0 || address.toString() !== text)
    return null;
  return { network, address };
}

export function membersFolder(network: NetworkId): string {
  return `${MEMBERS_FOLDER}${network}/`;
}

export function membersRecord(network: NetworkId, host: HostId): string {
  return membersFolder(network) + host;
}

/** What a key below the folder of members names; null for another key. */
export function parseMembersRecord(key: string): { network: NetworkId; host: HostId } | null {
  const [network, host, ...rest] = key.slice(MEMBERS_FOLDER.length).split("/");
  return isNetworkId(network) && isHostId(host) && rest.length === 0 ? { network, host } : null;
}

export function hostRecord(host: HostId): string {
  return HOSTS_FOLDER + host;
}

/** The host that a key below the folder of hosts names; null for another key. */
export function parseHostRecord(key: string): HostId | null {
  const host = key.slice(HOSTS_FOLDER.length);
  return isHostId(host) ? host : null;
}

/** A request of `requester` for an address that `holder` holds: `what` is an address, or "any4" or "any6". */
export interface WantedName {
  readonly holder: HostId;
  readonly requester: HostId;
  readonly network: NetworkId;
  readonly what: string;
}

export function wantedFolder(holder: HostId): string {
  return `${WANTED_FOLDER}${holder}/`;
}

export function wantedRecord({ holder, requester, network, what }: WantedName): string {
  return `${wantedFolder(holder)}${requester}/${network}/${what}`;
}

/** What a key below the folder of requests names; null for another key. */
export function parseWantedRecord(key: string): WantedName | null {
  const [holder, requester, network, what, ...rest] = key.slice(WANTED_FOLDER.length).split("/");
  const isComplete = isHostId(holder) && isHostId(requester) && isNetworkId(network) && rest.length === 0;
  return isComplete && what !== undefined ? { holder, requester, network, what } : null;
}
