/**
 * Reads decoded JSON objects the way Go's encoding/json fills a struct: key names in any case, the last of
 * several wins, null counts as absent. Pure; callers name the keys.
 */

import type { JsonObject, JsonValue } from "./json.ts";

/** The value under `name` in any case; undefined when it is absent or null. */
export function lookupField(object: JsonObject, name: string): JsonValue | undefined {
  const wanted = name.toLowerCase();
  let found: JsonValue | undefined;
  for (const key in object) {
    if (key === name || key.toLowerCase() === wanted) found = object[key] ?? found;
  }
  return found;
}
