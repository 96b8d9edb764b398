/**
 * Reads a backend's options the way flannel's decoder does: key names in any case, unknown keys ignored, a value
 * of the wrong type refused. Pure.
 */

import { ConfigError } from "../ipam/errors.ts";
import { lookupField } from "../ipam/go-json.ts";
import type { JsonObject, JsonValue } from "../ipam/json.ts";

/** An integer between `min` and `max`, or `fallback` when absent. Throws ConfigError. */
export function integerOption(
  options: JsonObject,
  name: string,
  fallback: number,
  min: number,
  max: number,
): number {
  const value = lookupField(options, name);
  if (value === undefined) return fallback;
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw optionError(name, value, `a whole number from ${min} to ${max}`);
  }
  return value;
}

/** A boolean, or `fallback` when absent. Throws ConfigError. */
export function booleanOption(options: JsonObject, name: string, fallback: boolean): boolean {
  const value = lookupField(options, name);
  if (value === undefined) return fallback;
  if (typeof value !== "boolean") throw optionError(name, value, "true or false");
  return value;
}

/** A text without NUL, which no program could be given, or null when absent or empty. Throws ConfigError. */
export function stringOption(options: JsonObject, name: string): string | null {
  const value = lookupField(options, name);
  if (value === undefined || value === "") return null;
  if (typeof value !== "string" || value.includes("\0")) throw optionError(name, value, "text in quotes");
  return value;
}

/** One of `words`, or `fallback` when absent or empty. Throws ConfigError. */
export function wordOption<W extends string>(
  options: JsonObject,
  name: string,
  words: readonly W[],
  fallback: W,
): W {
  const value = lookupField(options, name);
  if (value === undefined || value === "") return fallback;
  const found = words.find((word) => word === value);
  if (found === undefined) throw optionError(name, value, `one of ${words.join(", ")}`);
  return found;
}

/** What `parse` makes of text, or null when absent or empty. Throws ConfigError that does not repeat the value. */
export function secretOption(
  options: JsonObject,
  name: string,
  parse: (text: string) => string | null,
  expected: string,
): string | null {
  const value = lookupField(options, name);
  if (value === undefined || value === "") return null;
  const parsed = typeof value === "string" ? parse(value) : null;
  if (parsed !== null) return parsed;
  throw new ConfigError(`network config: Backend.${name} is not valid; write ${expected}`);
}

function optionError(name: string, value: JsonValue, expected: string): ConfigError {
  return new ConfigError(`network config: Backend.${name} is ${JSON.stringify(value)}; write ${expected}`);
}
