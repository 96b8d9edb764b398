/** Reads fields of JSON from the store. Every function throws CodecError that names the field and its value. Pure. */

import { Address, entriesOf, FAMILIES, type Family, type PerFamily, Prefix } from "../addresses/ip.ts";
import { CodecError, errorMessage } from "../errors.ts";
import { boundText } from "../escape.ts";
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from "../json.ts";

/** The JSON object in a text. */
export function parseObject(text: string): JsonObject {
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (error) {
    throw new CodecError(`not JSON: ${boundText(errorMessage(error), 120)}`, { cause: error });
  }
  if (!isJsonObject(value)) throw new CodecError("not a JSON object");
  return value;
}

/** A field that must be there, of at most `limit` UTF-16 units. */
export function textField(object: JsonObject, name: string, limit: number): string {
  const value = own(object, name);
  if (typeof value !== "string") throw wrong(name, value, "text");
  if (value.length > limit) throw new CodecError(`${name} has ${value.length} characters, over ${limit}`);
  return value;
}

/** A whole number from `least` to `most`. */
export function integerField(object: JsonObject, name: string, least: number, most: number): number {
  const value = own(object, name);
  if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most)
    throw wrong(name, value, `a whole number from ${least} to ${most}`);
  return value;
}

/** True or false; absent counts as false. */
export function flagField(object: JsonObject, name: string): boolean {
  const value = own(object, name) ?? false;
  if (typeof value !== "boolean") throw wrong(name, value, "true or false");
  return value;
}

/** A list of at most `limit` entries; absent counts as empty. */
export function listField(object: JsonObject, name: string, limit: number): readonly JsonValue[] {
  const value = own(object, name) ?? [];
  if (!Array.isArray(value)) throw wrong(name, value, "a list");
  if (value.length > limit) throw new CodecError(`${name} has ${value.length} entries, over ${limit}`);
  return value;
}

export function objectField(object: JsonObject, name: string): JsonObject {
  const value = own(object, name);
  if (!isJsonObject(value)) throw wrong(name, value, "an object");
  return value;
}

/** An object whose values are text; absent counts as empty. */
export function textMapField(
  object: JsonObject,
  name: string,
  limit: number,
): Readonly<Record<string, string>> {
  const value = own(object, name) ?? {};
  if (!isJsonObject(value)) throw wrong(name, value, "an object");
  const entries = Object.entries(value);
  if (entries.length > limit) throw new CodecError(`${name} has ${entries.length} entries, over ${limit}`);
  for (const [key, text] of entries)
    if (typeof text !== "string") throw wrong(`${name}.${boundText(key, 60)}`, text, "text");
  return Object.fromEntries(entries) as Record<string, string>;
}

export function addressOf(value: JsonValue | undefined, name: string): Address {
  if (typeof value !== "string") throw wrong(name, value, "an address");
  const address = Address.parseOrNull(value);
  if (address === null) throw wrong(name, value, "an address");
  return address;
}

export function prefixOf(value: JsonValue | undefined, name: string): Prefix {
  if (typeof value !== "string") throw wrong(name, value, "a prefix");
  try {
    return Prefix.parse(value);
  } catch {
    throw wrong(name, value, "a prefix");
  }
}

/** Values under "4" and "6"; absent families are left out. */
export function perFamilyField<T>(
  object: JsonObject,
  name: string,
  read: (value: JsonValue, family: Family, path: string) => T,
): PerFamily<T> {
  const values = objectField(object, name);
  const found: Partial<Record<Family, T>> = {};
  for (const family of FAMILIES) {
    const value = own(values, String(family));
    if (value !== undefined) found[family] = read(value, family, `${name}.${family}`);
  }
  return found;
}

/** Addresses under "4" and "6", each of its family. */
export function addressesField(object: JsonObject, name: string): PerFamily<Address> {
  return perFamilyField(object, name, (value, family, path) => {
    const address = addressOf(value, path);
    if (address.family !== family) throw wrong(path, value, `an IPv${family} address`);
    return address;
  });
}

/** The JSON of values per family. */
export function encodePerFamily<T>(values: PerFamily<T>, encode: (value: T) => JsonValue): JsonObject {
  return Object.fromEntries(entriesOf(values).map(([family, value]) => [String(family), encode(value)]));
}

/** An own field, so that inherited names such as `constructor` are absent. */
function own(object: JsonObject, name: string): JsonValue | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

function wrong(name: string, value: JsonValue | undefined, what: string): CodecError {
  const shown = value === undefined ? "absent" : boundText(JSON.stringify(value), 60);
  return new CodecError(`${name} is ${shown}, not ${what}`, { details: { path: name } });
}
