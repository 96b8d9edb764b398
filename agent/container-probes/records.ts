/**
 * What hosts say to each other when paths between containers are to be measured. Pure.
 *
 *     <prefix>/tulle/container-probes/requests/<id>             {"version":1,"peers":["10.2.3.0-24"]}
 *     <prefix>/tulle/container-probes/answers/<id>/<node id>    {"version":1,"peer":"10.2.3.0-24","addresses":["10.2.3.254"]}
 *
 * Each named host joins a container of its own to its bridge for as long as the request exists. Both records expire, so
 * that nothing is left of a program that was killed. Readers trust neither size nor shape: any client of the store can
 * write one.
 */

import { Address, type Family, type PerFamily } from "../../ipam/addresses/ip.ts";
import { CodecError, TulleError } from "../../ipam/errors.ts";
import { type JsonObject, parseJsonObject } from "../../ipam/json.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";

export const REQUESTS_FOLDER = "container-probes/requests/";
const ANSWERS_FOLDER = "container-probes/answers/";
const VERSION = 1;

/** Peers that one request may name: each of them writes to the store and makes a container. */
export const MOST_PEERS = 200;
const MOST_CHARACTERS = 64 * 1024;
const REQUEST_ID = /^[0-9a-f]{16}$/;

/** Seconds until a record expires that is not kept alive. */
export const RECORD_SECONDS = 60;

export interface ProbeAnswer {
  readonly peer: LeaseKey;
  /** Of the container. */
  readonly addresses: PerFamily<Address>;
}

export function requestName(id: string): string {
  return REQUESTS_FOLDER + id;
}

/** The id in a request's name; null for another name. */
export function parseRequestName(name: string): string | null {
  const id = name.slice(REQUESTS_FOLDER.length);
  return name.startsWith(REQUESTS_FOLDER) && REQUEST_ID.test(id) ? id : null;
}

export function answersFolder(id: string): string {
  return `${ANSWERS_FOLDER}${id}/`;
}

export function encodeRequest(peers: readonly LeaseKey[]): string {
  return JSON.stringify({ version: VERSION, peers });
}

/** The peers that are asked. Throws CodecError. */
export function decodeRequest(value: string): ReadonlySet<string> {
  const { peers } = decodeRecord(value);
  if (!Array.isArray(peers)) throw new CodecError("peers is not a list");
  if (peers.length > MOST_PEERS) throw new CodecError(`peers has more than ${MOST_PEERS} leases`);
  return new Set(peers.map(String));
}

export function encodeAnswer({ peer, addresses }: ProbeAnswer): string {
  return JSON.stringify({ version: VERSION, peer, addresses: Object.values(addresses) });
}

/** Throws CodecError. */
export function decodeAnswer(value: string): ProbeAnswer {
  const { peer, addresses } = decodeRecord(value);
  if (typeof peer !== "string") throw new CodecError("peer is not text");
  if (!Array.isArray(addresses)) throw new CodecError("addresses is not a list");
  const found: Partial<Record<Family, Address>> = {};
  for (const text of addresses) {
    const address = typeof text === "string" ? Address.parseOrNull(text) : null;
    if (address === null) throw new CodecError("addresses holds something that is not an address");
    found[address.family] = address;
  }
  return { peer: peer as LeaseKey, addresses: found };
}

function decodeRecord(value: string): JsonObject {
  if (value.length > MOST_CHARACTERS) throw new CodecError(`it has more than ${MOST_CHARACTERS} characters`);
  const record = parseJsonObject(value);
  if (record.version !== VERSION) throw new CodecError(`its version is not ${VERSION}`);
  return record;
}

/** What `decode` makes of a record; null for one that is damaged. */
export function readOrNull<T>(value: string, decode: (value: string) => T): T | null {
  try {
    return decode(value);
  } catch (error) {
    if (error instanceof TulleError) return null;
    throw error;
  }
}
