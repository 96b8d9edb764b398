/**
 * The text form of one version of the file store's state.
 *
 * Pure. Revisions are decimal text, because JSON numbers do not hold 64 bits.
 */

import { CodecError, errorMessage } from "../../errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../json.ts";
import type { KvItem, KvLease, KvState } from "./kv-state.ts";

const FORMAT = 1;

export interface StateFile {
  /** The kernel's id of the boot on whose monotonic clock the deadlines are. */
  readonly bootId: string;
  /** Marks of the last writers, newest last. */
  readonly lineage: readonly string[];
  readonly state: KvState;
}

export function encodeStateFile(file: StateFile): string {
  const items = [...file.state.items].map(([key, item]) => ({
    key,
    value: item.value,
    revision: String(item.revision),
    createRevision: String(item.createRevision),
    lease: item.lease,
  }));
  const { bootId, lineage, state } = file;
  return `${JSON.stringify({ format: FORMAT, bootId, lineage, revision: String(state.revision), items })}\n`;
}

/** Decodes the output of `encodeStateFile`. CodecError for anything else. */
export function decodeStateFile(text: string): StateFile {
  const root = parseObject(text);
  if (root.format !== FORMAT) throw new CodecError(`state file: format is ${root.format}, not ${FORMAT}`);
  const items = new Map<string, KvItem>();
  for (const item of arrayAt(root, "items")) {
    if (!isJsonObject(item)) throw new CodecError("state file: an item is not an object");
    items.set(textAt(item, "key"), decodeItem(item));
  }
  return {
    bootId: textAt(root, "bootId"),
    lineage: arrayAt(root, "lineage").map(String),
    state: { revision: revisionAt(root, "revision"), items },
  };
}

function decodeItem(item: JsonObject): KvItem {
  return {
    value: textAt(item, "value"),
    revision: revisionAt(item, "revision"),
    createRevision: revisionAt(item, "createRevision"),
    lease: item.lease === null ? null : decodeLease(item.lease),
  };
}

function decodeLease(lease: JsonValue | undefined): KvLease {
  if (!isJsonObject(lease)) throw new CodecError("state file: a lease is not an object");
  return {
    id: textAt(lease, "id"),
    ttlSeconds: numberAt(lease, "ttlSeconds"),
    deadlineMs: numberAt(lease, "deadlineMs"),
  };
}

function parseObject(text: string): JsonObject {
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch (error) {
    throw new CodecError(`state file: ${errorMessage(error)}`, { cause: error });
  }
  if (!isJsonObject(root)) throw new CodecError("state file: not one JSON object");
  return root;
}

function textAt(object: JsonObject, name: string): string {
  const value = object[name];
  if (typeof value !== "string")
    throw new CodecError(`state file: ${name} is not text`, { details: { path: name } });
  return value;
}

function numberAt(object: JsonObject, name: string): number {
  const value = object[name];
  if (typeof value !== "number")
    throw new CodecError(`state file: ${name} is not a number`, { details: { path: name } });
  return value;
}

function arrayAt(object: JsonObject, name: string): readonly JsonValue[] {
  const value = object[name];
  if (!Array.isArray(value))
    throw new CodecError(`state file: ${name} is not a list`, { details: { path: name } });
  return value;
}

function revisionAt(object: JsonObject, name: string): bigint {
  const text = textAt(object, name);
  if (!/^\d{1,20}$/.test(text))
    throw new CodecError(`state file: ${name} is not a revision`, { details: { path: name } });
  return BigInt(text);
}
