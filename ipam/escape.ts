/**
 * Makes text from outside (store keys and values, flags, files, answers of servers) safe to show: on a
 * terminal, in a log line, in JSON. Pure. Output code calls this; code that stores or compares text does not.
 */

import type { JsonValue } from "./json.ts";

/**
 * Characters that show nothing or act on a terminal (Unicode's category C: C0, DEL, C1, bidi controls and other
 * format characters, lone surrogates), and the line and paragraph separators.
 */
const UNSAFE = /[\p{C}\p{Zl}\p{Zp}]/u;
const EACH_UNSAFE = new RegExp(UNSAFE, "gu");

const NAMED: ReadonlyMap<string, string> = new Map([
  ["\t", "\\t"],
  ["\n", "\\n"],
  ["\r", "\\r"],
]);

/** Longest text that one field, cell or value takes, in UTF-16 units, unless the caller names another limit. */
export const TEXT_LIMIT = 256;

/** False when `escapeText` would change a character of the text. */
export function isPrintable(text: string): boolean {
  return !UNSAFE.test(text);
}

/**
 * The text on one line, with unsafe characters as `\n`, `\x1b` or `\u202e`, and at most `limit` UTF-16 units
 * long (at least 40): a longer text keeps its start and its end. Backslashes stay as they are.
 */
export function escapeText(text: string, limit = TEXT_LIMIT): string {
  if (text.length <= limit) {
    const escaped = escapeAll(text);
    if (escaped.length <= limit) return escaped;
  }
  return shorten(text, limit, escapeAll);
}

/** The text unescaped, shortened as `escapeText` does; for text that is encoded afterwards, such as JSON. */
export function boundText(text: string, limit = TEXT_LIMIT): string {
  return text.length <= limit ? text : shorten(text, limit, (character) => character);
}

/** JSON whose strings hold no unsafe character in the raw: JSON.stringify leaves DEL, C1 and bidi controls. */
export function formatJson(value: JsonValue | object, indent?: number): string {
  return escapeJson(JSON.stringify(value, null, indent));
}

/**
 * JSON text with what JSON.stringify leaves raw as `\uXXXX`. White space between tokens stays, but a carriage
 * return, alone or before a line feed, becomes a line feed: it would let a terminal write over the line.
 */
export function escapeJson(json: string): string {
  return json
    .replace(/\r\n?/g, "\n")
    .replace(EACH_UNSAFE, (character) =>
      character === "\n" || character === "\t" ? character : utf16Escapes(character),
    );
}

function escapeAll(text: string): string {
  return UNSAFE.test(text) ? text.replace(EACH_UNSAFE, escapeCharacter) : text;
}

function escapeCharacter(character: string): string {
  const named = NAMED.get(character);
  if (named !== undefined) return named;
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x100) return `\\x${hex(code, 2)}`;
  return code < 0x10000 ? `\\u${hex(code, 4)}` : `\\u{${hex(code, 0)}}`;
}

/** JSON has no escape for a code point above U+FFFF but its surrogate pair (RFC 8259, section 7). */
function utf16Escapes(character: string): string {
  let escapes = "";
  for (let index = 0; index < character.length; index++) {
    escapes += `\\u${hex(character.charCodeAt(index), 4)}`;
  }
  return escapes;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}

/** Room for `…(N characters left out)…` with N of any size that a string can have. */
const NOTE_ROOM = 34;

/** Two thirds of the room go to the start, one third to the end. No character is split. */
function shorten(text: string, limit: number, show: (character: string) => string): string {
  const room = Math.max(0, limit - NOTE_ROOM);
  const head = Array.from(text.slice(0, limit));
  const tail = Array.from(text.slice(-limit)).reverse();
  const start = take(head, Math.ceil((room * 2) / 3), show);
  const end = take(tail, room - start.length, show, text.length - start.taken);
  const left = text.length - start.taken - end.taken;
  return `${start.parts.join("")}…(${left} characters left out)…${end.parts.reverse().join("")}`;
}

interface Taken {
  readonly parts: string[];
  /** Length of what is shown, and of what was taken from the text, in UTF-16 units. */
  readonly length: number;
  readonly taken: number;
}

function take(
  characters: readonly string[],
  room: number,
  show: (character: string) => string,
  available = Number.POSITIVE_INFINITY,
): Taken {
  const parts: string[] = [];
  let length = 0;
  let taken = 0;
  for (const character of characters) {
    const part = show(character);
    if (length + part.length > room || taken + character.length > available) break;
    parts.push(part);
    length += part.length;
    taken += character.length;
  }
  return { parts, length, taken };
}
