/**
 * What a host says of itself for people: one record per host below `<prefix>/tulle/`, named by the node id that its lease
 * has too.
 *
 *     hosts/<node id>     {"name": …, "version": …, "kernel": …, "backends": […]}
 *
 * Nothing depends on it but what is shown. Hosts that run flanneld have none. Pure.
 */

import { CodecError } from "../errors.ts";
import { boundText } from "../escape.ts";
import { type JsonObject, type JsonValue, parseJsonObject } from "../json.ts";
import type { HostId } from "../named-networks/named-network.ts";
import { isHostId } from "../named-networks/record-names.ts";

export const PROFILES_FOLDER = "hosts/";

export interface HostProfile {
  /** The host name: letters, digits, `.`, `_`, `-`; at most 253 characters. */
  readonly name: string;
  /** Of tulle. */
  readonly version: string;
  /** The kernel's release, as `uname -r` prints it. */
  readonly kernel: string;
  /** Types of the backends that the host can run. */
  readonly backends: readonly string[];
}

/** UTF-16 units of a record; one of ours has some hundred. */
const MOST_CHARACTERS = 4_096;
const MOST_BACKENDS = 32;
/** A host name has at most 253 characters (RFC 1035 section 2.3.4); Linux allows characters that DNS does not. */
const NAME = /^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?$/;
const WORD = /^[A-Za-z0-9][A-Za-z0-9._+~:-]{0,127}$/;

/** What takes the place of a name or version that is none. */
const UNKNOWN = "unknown";

export function profileRecord(host: HostId): string {
  return PROFILES_FOLDER + host;
}

/** The host that a key below the folder names; null for another key. */
export function parseProfileKey(key: string): HostId | null {
  const host = key.slice(PROFILES_FOLDER.length);
  return key.startsWith(PROFILES_FOLDER) && isHostId(host) ? host : null;
}

/** A profile that decodeProfile accepts, from what a system says of itself. */
export function profileOf(said: HostProfile): HostProfile {
  const name = said.name
    .slice(0, 253)
    .replace(/[^A-Za-z0-9_.-]/g, "-")
    .replace(/^[.-]+|[.-]+$/g, "");
  const word = (text: string): string => (WORD.test(text) ? text : UNKNOWN);
  return {
    name: NAME.test(name) ? name : UNKNOWN,
    version: word(said.version),
    kernel: word(said.kernel),
    backends: said.backends.filter((type) => WORD.test(type)).slice(0, MOST_BACKENDS),
  };
}

/** The same text for the same facts, so that texts are compared. */
export function encodeProfile({ name, version, kernel, backends }: HostProfile): string {
  return JSON.stringify({ name, version, kernel, backends: [...backends].sort() });
}

/** Throws CodecError that names the field. */
export function decodeProfile(text: string): HostProfile {
  if (text.length > MOST_CHARACTERS)
    throw new CodecError(`it has ${text.length} characters, over ${MOST_CHARACTERS}`);
  const root = parseJsonObject(text);
  const { backends = [] } = root;
  if (!Array.isArray(backends) || backends.length > MOST_BACKENDS) throw wrong("backends", backends);
  return {
    name: matching(root, "name", NAME),
    version: matching(root, "version", WORD),
    kernel: matching(root, "kernel", WORD),
    backends: backends.map((type: JsonValue) => {
      if (typeof type !== "string" || !WORD.test(type)) throw wrong("backends", type);
      return type;
    }),
  };
}

function matching(root: JsonObject, field: string, pattern: RegExp): string {
  const value = Object.hasOwn(root, field) ? root[field] : undefined;
  if (typeof value === "string" && pattern.test(value)) return value;
  throw wrong(field, value);
}

function wrong(field: string, value: JsonValue | undefined): CodecError {
  const shown = value === undefined ? "absent" : boundText(JSON.stringify(value), 60);
  return new CodecError(`${field} is ${shown}`, { details: { path: field } });
}
