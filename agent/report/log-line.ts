/**
 * One line of a log, as text or JSON: secrets redacted, every field bounded, unsafe characters escaped. Pure.
 *
 * Fields hold whatever a store, a file or a server sent; a line must stay one line of printable text.
 */

import { boundText, escapeText, formatJson, isPrintable } from "../../ipam/escape.ts";
import type { LogFields } from "../../ipam/log.ts";
import { isSecretName } from "./secret-names.ts";
import { hideUrlPasswords } from "./url-passwords.ts";

export interface LogEntry {
  readonly time: Date;
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

/** Longest value of one field, in UTF-16 units: room for an error's sentence, not for a hostile key. */
const VALUE_LIMIT = 1000;
const NAME_LIMIT = 64;

const REDACTED = "[redacted]";

/** `2026-01-31T10:00:00.000Z info  route added destination=10.2.54.0/24 device=flannel.1` */
export function textLine({ time, level, message, fields }: LogEntry): string {
  const words = [time.toISOString(), level.padEnd(5), escapeText(message, VALUE_LIMIT)];
  return [...words, ...fieldWords(fields)].join(" ");
}

/** An object with the fields beside `time`, `level` and `message`. */
export function jsonLine({ time, level, message, fields }: LogEntry): string {
  const bounded = Object.entries(redact(fields)).map(([name, value]) => [name, jsonField(value)]);
  const head = { time: time.toISOString(), level, message: boundText(message, VALUE_LIMIT) };
  return formatJson({ ...head, ...Object.fromEntries(bounded) });
}

/** `name=value` for each field; a value that holds blanks, quotes or unsafe characters is a JSON string. */
export function fieldWords(fields: LogFields): readonly string[] {
  return Object.entries(redact(fields)).map(
    ([name, value]) => `${escapeText(name, NAME_LIMIT)}=${textValue(value)}`,
  );
}

function textValue(value: unknown): string {
  const text = boundText(typeof value === "string" ? value : scalarText(value), VALUE_LIMIT);
  return /^[^\s"=]+$/.test(text) && isPrintable(text) ? text : formatJson(text);
}

/** Values that print themselves (addresses, prefixes, numbers) do, lists item by item; anything else is JSON. */
function scalarText(value: unknown): string {
  if (Array.isArray(value)) return value.map(scalarText).join(",");
  if (value === null || typeof value !== "object") return String(value);
  const json = JSON.stringify(value, jsonValue);
  return json.startsWith('"') ? (JSON.parse(json) as string) : json;
}

/** A value that is short as JSON stays what it is; a long one becomes the bounded text of it. */
function jsonField(value: unknown): unknown {
  if (typeof value === "string") return boundText(value, VALUE_LIMIT);
  const json = JSON.stringify(value, jsonValue) ?? "null";
  return json.length <= VALUE_LIMIT ? JSON.parse(json) : boundText(json, VALUE_LIMIT);
}

function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Error) return value.message;
  if (value instanceof Map) return Object.fromEntries(value);
  if (value instanceof Set) return [...value];
  return value;
}

/** Replaces secrets at any depth: values under a telling name, and passwords inside URLs. */
function redact(fields: LogFields): LogFields {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, redactValue(name, value)]));
}

function redactValue(name: string, value: unknown): unknown {
  if (isSecretName(name)) return value === "" || value === null ? value : REDACTED;
  if (typeof value === "string") return hideUrlPasswords(value);
  if (value instanceof Error) return hideUrlPasswords(value.message);
  if (value instanceof Map) return redact(Object.fromEntries(value));
  if (value instanceof Set) return redactValue("", [...value]);
  if (Array.isArray(value)) return value.map((item) => redactValue("", item));
  if (isPlainObject(value)) return redact(value);
  return value;
}

function isPlainObject(value: unknown): value is LogFields {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
