/** JSON that comes from outside. Pure. */

import { CodecError } from "./errors.ts";

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export type JsonObject = { readonly [key: string]: JsonValue };

/** True for `{…}`, false for arrays, null and scalars. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A record that must be an object. Throws CodecError, whose message completes "the record is ignored: …". */
export function parseJsonObject(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new CodecError("it is not JSON");
  }
  if (isJsonObject(value)) return value;
  throw new CodecError("it is not a JSON object");
}
