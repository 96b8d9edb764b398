/** JSON that comes from outside. Pure. */

import { CodecError } from "./errors.ts";

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export type JsonObject = { readonly [key: string]: JsonValue };

/** True for `{…}`, false for arrays, null and scalars. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** No record nests a tenth of this. Some thousand levels exhaust the stack of a function that walks the value or writes it. */
const MOST_LEVELS = 100;

/** Some editors put it in front of what they save; JSON must not have it (RFC 8259, section 8.1). */
const BYTE_ORDER_MARK = "\ufeff";

/**
 * Like JSON.parse, and throws CodecError for text that nests more deeply than any reader expects, or begins with a byte
 * order mark, which no message would show.
 */
export function parseJson(text: string): JsonValue {
  if (text.startsWith(BYTE_ORDER_MARK))
    throw new CodecError("the value begins with a byte order mark: write it without");
  if (levelsOf(text) > MOST_LEVELS) throw new CodecError(`the value nests over ${MOST_LEVELS} levels deep`);
  return JSON.parse(text);
}

const [QUOTE, BACKSLASH] = [0x22, 0x5c];
const OPENING: ReadonlySet<number> = new Set([0x5b, 0x7b]);
const CLOSING: ReadonlySet<number> = new Set([0x5d, 0x7d]);

/** How deeply arrays and objects nest in JSON text; any number for other text. */
function levelsOf(text: string): number {
  // The usual cases, in a fraction of the time: there are not even as many brackets.
  if (text.length <= 2 * MOST_LEVELS) return 0;
  if (text.split("{").length + text.split("[").length - 2 <= MOST_LEVELS) return 0;
  let [levels, most, isText] = [0, 0, false];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (isText && code === BACKSLASH) at++;
    else if (code === QUOTE) isText = !isText;
    else if (isText) continue;
    else if (OPENING.has(code)) most = Math.max(most, ++levels);
    else if (CLOSING.has(code)) levels--;
  }
  return most;
}

/** A record that must be an object. Throws CodecError, whose message completes "the record is ignored: …". */
export function parseJsonObject(text: string): JsonObject {
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (error) {
    if (error instanceof CodecError) throw error;
    throw new CodecError("it is not JSON");
  }
  if (isJsonObject(value)) return value;
  throw new CodecError("it is not a JSON object");
}
