/**
 * Reads decoded JSON objects the way Go's encoding/json fills a struct: key names in any case, the last of
 * several wins, null counts as absent. Pure; callers name the keys.
 */

import type { JsonObject, JsonValue } from "./json.ts";

/** The value under `name`, which is ASCII, in any case; undefined when it is absent or null. */
export function lookupField(object: JsonObject, name: string): JsonValue | undefined {
  let found: JsonValue | undefined;
  for (const key in object) if (isSameName(key, name)) found = object[key] ?? found;
  return found;
}

/** The length first: lower-case copies of the keys of thousands of leases are garbage. */
function isSameName(key: string, name: string): boolean {
  return key === name || (key.length === name.length && key.toLowerCase() === name.toLowerCase());
}
