/**
 * Edits single top-level settings of Docker's daemon.json in place; every other byte stays as the administrator
 * wrote it. Pure text in, text out.
 */

import { ConfigError, errorMessage } from "../../ipam/errors.ts";
import { isJsonObject, type JsonObject, type JsonValue } from "../../ipam/json.ts";

/** The settings to write; a key with the value undefined is taken out. */
export type DaemonSettings = Readonly<Record<string, JsonValue | undefined>>;

interface Member {
  readonly key: string;
  /** Offsets in the text: of the key's first quote, of the value's first and behind its last character. */
  readonly start: number;
  readonly valueStart: number;
  readonly end: number;
}

/**
 * Parses daemon.json; empty text is an empty object, as for dockerd.
 * ConfigError when it is not a JSON object (dockerd accepts no comments either) or has a key twice.
 */
export function parseDaemonJson(text: string, path: string): JsonObject {
  if (text.trim() === "") return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(
      `${path} is not valid JSON (${errorMessage(error)}): correct it first, dockerd would refuse it too`,
      { cause: error, details: { path } },
    );
  }
  if (!isJsonObject(value)) {
    throw new ConfigError(`${path} holds no JSON object: correct it first, dockerd would refuse it too`, {
      details: { path },
    });
  }
  const keys = membersOf(text).map((member) => member.key);
  const twice = keys.find((key, index) => keys.indexOf(key) !== index);
  if (twice !== undefined) {
    throw new ConfigError(`${path} sets "${twice}" twice: remove one of the two`, { details: { path } });
  }
  return value;
}

/** The text with `settings` applied; the very same text when they already hold. Throws ConfigError. */
export function editDaemonJson(text: string, settings: DaemonSettings, path: string): string {
  const current = parseDaemonJson(text, path);
  let edited = text.trim() === "" ? "{}\n" : text;
  for (const [key, value] of Object.entries(settings)) {
    if (JSON.stringify(current[key]) === JSON.stringify(value)) continue;
    edited = value === undefined ? removeMember(edited, key) : setMember(edited, key, value);
  }
  return edited === "{}\n" && text.trim() === "" ? text : edited;
}

function setMember(text: string, key: string, value: JsonValue): string {
  const members = membersOf(text);
  const member = members.find((each) => each.key === key);
  const spelled = JSON.stringify(value);
  if (member !== undefined) return text.slice(0, member.valueStart) + spelled + text.slice(member.end);
  const addition = `${JSON.stringify(key)}: ${spelled}`;
  const last = members.at(-1);
  if (last === undefined) {
    const open = text.indexOf("{");
    return `${text.slice(0, open + 1)}\n  ${addition}\n${text.slice(text.indexOf("}", open))}`;
  }
  const separator = /\s*$/.exec(text.slice(0, last.start))?.[0] ?? "";
  return `${text.slice(0, last.end)},${separator}${addition}${text.slice(last.end)}`;
}

/** Takes a member out together with the comma and the space that only it needed. */
function removeMember(text: string, key: string): string {
  const members = membersOf(text);
  const index = members.findIndex((each) => each.key === key);
  const member = members[index];
  if (member === undefined) return text;
  const previous = members[index - 1];
  const next = members[index + 1];
  if (previous !== undefined) return text.slice(0, previous.end) + text.slice(member.end);
  if (next !== undefined) return text.slice(0, member.start) + text.slice(next.start);
  return text.slice(0, text.indexOf("{") + 1) + text.slice(text.lastIndexOf("}"));
}

/** The members of the outermost object. The precondition is that `text` is a valid JSON object. */
function membersOf(text: string): Member[] {
  const members: Member[] = [];
  let position = skipSpace(text, text.indexOf("{") + 1);
  while (text[position] === '"') {
    const start = position;
    const keyEnd = endOfString(text, start);
    const valueStart = skipSpace(text, skipSpace(text, keyEnd) + 1);
    const end = endOfValue(text, valueStart);
    members.push({ key: String(JSON.parse(text.slice(start, keyEnd))), start, valueStart, end });
    position = skipSpace(text, end);
    if (text[position] === ",") position = skipSpace(text, position + 1);
  }
  return members;
}

function skipSpace(text: string, from: number): number {
  let position = from;
  while (/\s/.test(text[position] ?? "")) position++;
  return position;
}

function endOfString(text: string, start: number): number {
  let position = start + 1;
  while (text[position] !== '"') position += text[position] === "\\" ? 2 : 1;
  return position + 1;
}

function endOfValue(text: string, start: number): number {
  let depth = 0;
  let position = start;
  while (position < text.length) {
    const character = text[position] ?? "";
    if (character === '"') {
      position = endOfString(text, position);
      if (depth === 0) return position;
      continue;
    }
    if (depth === 0 && /[\s,}\]]/.test(character)) return position;
    if (character === "{" || character === "[") depth++;
    if (character === "}" || character === "]") depth--;
    position++;
    if (depth === 0 && (character === "}" || character === "]")) return position;
  }
  return position;
}
