/**
 * A host's health record: which of its paths to peers are proven to be broken. Pure.
 *
 *     <prefix>/tulle/health/<node id>    {"version":1,"bad":[{"peer":"10.2.3.0-24","cause":"host-down","seen":"is down: …"}]}
 *
 * A host without such a path has no record. Readers trust neither size nor shape: any client of the store can write one.
 */

import { CodecError } from "../../ipam/errors.ts";
import { escapeText } from "../../ipam/escape.ts";
import { isJsonObject, type JsonValue, parseJsonObject } from "../../ipam/json.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";
import { parseLeaseKey } from "../../ipam/leases/lease-codec.ts";

export const HEALTH_FOLDER = "health/";
const VERSION = 1;

/** A broken path from the record's host to a peer. */
export interface BadPath {
  readonly peer: LeaseKey;
  /** The code of a cause. A newer version may have codes that this one lacks. */
  readonly cause: string;
  /** What was seen: the end of a sentence that begins with the peer. */
  readonly seen: string;
}

export interface HealthReport {
  readonly bad: readonly BadPath[];
  /** Broken paths that the record only counts. */
  readonly others: number;
}

/** A host that is cut off has thousands; more than these tell nothing new. */
const MOST_WRITTEN = 64;
/** Sixty-four paths take less than a third of it. */
export const MOST_BYTES = 32 * 1024;
const MOST_PATHS = 256;
const MOST_OTHERS = 1_000_000;
const LONGEST_SEEN = 200;
const CAUSE = /^[a-z][a-z0-9-]{0,39}$/;
const NODE_ID = /^[0-9a-f]{32}$/;

export function healthRecordName(nodeId: string): string {
  return HEALTH_FOLDER + nodeId;
}

/** The node id in a record's name; null for another name. */
export function parseHealthRecordName(name: string): string | null {
  const nodeId = name.slice(HEALTH_FOLDER.length);
  return name.startsWith(HEALTH_FOLDER) && NODE_ID.test(nodeId) ? nodeId : null;
}

/** The record's value; null when it is not to exist. */
export function encodeHealth(paths: readonly BadPath[]): string | null {
  if (paths.length === 0) return null;
  const bad = paths.slice(0, MOST_WRITTEN).map(({ peer, cause, seen }) => ({
    peer,
    cause,
    seen: escapeText(seen, LONGEST_SEEN),
  }));
  const others = paths.length - bad.length;
  return JSON.stringify({ version: VERSION, bad, ...(others > 0 && { others }) });
}

/** What makes two records of one host differ for a reader: not the measured values in a sentence. */
export function substanceOf(paths: readonly BadPath[]): string {
  return paths.map(({ peer, cause }) => `${peer} ${cause}`).join("\n");
}

/** Throws CodecError. Unknown fields are ignored; text is escaped and short. */
export function decodeHealth(value: string): HealthReport {
  if (value.length > MOST_BYTES) throw new CodecError(`it has more than ${MOST_BYTES} bytes`);
  const record = parseJsonObject(value);
  if (record.version !== VERSION) throw new CodecError(`its version is not ${VERSION}`);
  const { bad, others = 0 } = record;
  if (!Array.isArray(bad)) throw new CodecError("bad is not a list");
  if (bad.length > MOST_PATHS) throw new CodecError(`bad has more than ${MOST_PATHS} paths`);
  if (typeof others !== "number" || !Number.isInteger(others) || others < 0 || others > MOST_OTHERS)
    throw new CodecError("others is not a count");
  return { bad: bad.map((path: JsonValue, index) => decodePath(path, `bad[${index}]`)), others };
}

function decodePath(path: JsonValue, at: string): BadPath {
  if (!isJsonObject(path)) throw new CodecError(`${at} is not a JSON object`);
  const { peer, cause, seen } = path;
  if (typeof peer !== "string" || !isLeaseKey(peer)) throw new CodecError(`${at}.peer is not a lease key`);
  if (typeof cause !== "string" || !CAUSE.test(cause)) throw new CodecError(`${at}.cause is not a code`);
  if (typeof seen !== "string") throw new CodecError(`${at}.seen is not text`);
  return { peer, cause, seen: escapeText(seen, LONGEST_SEEN) };
}

function isLeaseKey(text: string): boolean {
  try {
    parseLeaseKey(text);
    return true;
  } catch (error) {
    if (error instanceof CodecError) return false;
    throw error;
  }
}
