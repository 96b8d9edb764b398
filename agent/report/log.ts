/**
 * The real log: winston behind the Logger of ipam/log.ts, text or JSON lines on standard error.
 *
 * The only file that knows winston. Standard output is never written: it belongs to command output.
 */

import winston from "winston";
import type { LogFields, Logger } from "../../ipam/log.ts";
import type { LogFormat, LogLevel } from "../config/config.ts";

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Wall clock, for the lines' time. */
  readonly now: () => Date;
  /** Where lines go; standard error unless a test wants to read them. */
  readonly stream?: NodeJS.WritableStream;
}

/** A Logger whose level can change while the daemon runs. */
export interface AdjustableLogger extends Logger {
  setLevel(level: LogLevel): void;
}

/** Field names whose values are never written. */
const SECRET_NAME = /password|secret|token|psk|privatekey/i;
const REDACTED = "[redacted]";

/** Builds the log. */
export function createLogger(options: LogOptions): AdjustableLogger {
  const logger = winston.createLogger({
    level: options.level,
    levels: { error: 0, warn: 1, info: 2, debug: 3 },
    format: winston.format.printf((entry) => {
      const fields = redact((entry.fields ?? {}) as LogFields);
      const write = options.format === "json" ? jsonLine : textLine;
      return write(options.now(), entry.level, String(entry.message), fields);
    }),
    transports: [new winston.transports.Stream({ stream: options.stream ?? process.stderr, eol: "\n" })],
  });
  const at =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}): void => {
      // Asked first: winston does half of its work before it looks at the level.
      if (logger.isLevelEnabled(level)) logger.log(level, message, { fields });
    };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    setLevel: (level) => {
      logger.level = level;
    },
  };
}

function jsonLine(time: Date, level: string, message: string, fields: LogFields): string {
  return JSON.stringify({ time: time.toISOString(), level, message, ...fields }, jsonValue);
}

/** `2026-01-31T10:00:00.000Z info  route added destination=10.2.54.0/24 device=flannel.1` */
function textLine(time: Date, level: string, message: string, fields: LogFields): string {
  const words = [time.toISOString(), level.padEnd(5), message];
  for (const [name, value] of Object.entries(fields)) words.push(`${name}=${textValue(value)}`);
  return words.join(" ");
}

function textValue(value: unknown): string {
  const text = typeof value === "string" ? value : scalarText(value);
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(text);
}

/** Values that print themselves (addresses, prefixes, numbers) do, lists item by item; anything else is JSON. */
function scalarText(value: unknown): string {
  if (Array.isArray(value)) return value.map(scalarText).join(",");
  if (value === null || typeof value !== "object") return String(value);
  const json = JSON.stringify(value, jsonValue);
  return json.startsWith('"') ? (JSON.parse(json) as string) : json;
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
  if (SECRET_NAME.test(name)) return value === "" || value === null ? value : REDACTED;
  if (typeof value === "string") return value.replace(/(\w:\/\/[^\s/:@]*):[^\s/@]+@/g, `$1:${REDACTED}@`);
  if (Array.isArray(value)) return value.map((item) => redactValue("", item));
  if (isPlainObject(value)) return redact(value);
  return value;
}

function isPlainObject(value: unknown): value is LogFields {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
