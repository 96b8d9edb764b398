/** Takes secrets out of text that leaves the host. Pure. */

import { formatJson } from "../../ipam/escape.ts";
import { FLAG_NAMES, type FlagName, flagOf } from "../config/flags.ts";
import type { Settings } from "../config/settings.ts";
import { hideUrlPasswords } from "../report/url-passwords.ts";
import type { GivenSettings } from "../terminal/command.ts";

const REDACTED = "[redacted]";
const SECRET_FLAGS = FLAG_NAMES.filter((name) => flagOf(name).isSecret);
/** Shorter values are words that occur everywhere; what a name tells is redacted anyway. */
const SHORTEST_SECRET = 6;

const SECRET_WORD = "[\\w.-]*(?:password|passwd|secret|token|psk|private[-_]?key|http[-_]?auth)[\\w.-]*";
/** `"PSK": "x"`, `token=x`, `password: x`. */
const VALUE = `"(?:\\\\.|[^"\\\\])*"|'[^']*'|[^\\s,}]+`;
const NAMED_VALUE = new RegExp(`(${SECRET_WORD}\\\\?["']?\\s*[:=]\\s*)(?:${VALUE})`, "gi");
/** `--consul-token x`. */
const FLAG_VALUE = new RegExp(`(\\s--?${SECRET_WORD}\\s+)(?:"[^"\\n]*"|'[^'\\n]*'|\\S+)`, "gi");
/** RFC 9110, section 11.6.2. */
const CREDENTIALS = /\b(Basic|Bearer)( +)[\w.~+/-]{6,}=*/gi;
const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g;

/**
 * Values that are secret wherever they occur: of settings, which may come from a config file, and of all flags and
 * variables that are given, whether or not they make a configuration.
 */
export function knownSecrets(settings: Settings | null, given: GivenSettings): readonly string[] {
  const ofSettings = settings === null ? [] : SECRET_FLAGS.flatMap((name) => settings[name].texts);
  const name = new RegExp(`^${SECRET_WORD}$`, "i");
  const variables = Object.entries(given.environment).flatMap(([key, value]) =>
    name.test(key) && value !== undefined ? [value] : [],
  );
  // Of "USER:PASSWORD" the password alone may occur too.
  return [...ofSettings, ...secretArguments(given.args), ...variables]
    .flatMap((text) => [text, text.split(":").slice(1).join(":")])
    .filter((value) => value.length >= SHORTEST_SECRET);
}

/** Values of secret flags: `-flag=value` and `-flag value`. */
function secretArguments(args: readonly string[]): readonly string[] {
  return args.flatMap((argument, index) => {
    const [, name = "", value = args[index + 1] ?? ""] = /^--?([^=]+)(?:=(.*))?$/s.exec(argument) ?? [];
    return (SECRET_FLAGS as readonly string[]).includes(name) ? [value] : [];
  });
}

/** A setting as a person may see it. */
export interface ShownSetting {
  readonly flag: FlagName;
  readonly values: readonly string[];
  /** See Setting. */
  readonly source: string;
}

/** All settings but the values of secrets. */
export function shownSettings(settings: Settings): readonly ShownSetting[] {
  return FLAG_NAMES.map((flag) => {
    const { texts, source } = settings[flag];
    const isHidden = SECRET_FLAGS.includes(flag);
    const values = texts.map((text) => (isHidden && text !== "" ? REDACTED : redactText(text, [])));
    return { flag, values, source };
  });
}

/** The text without known secrets, and without what a name says is secret. */
export function redactText(text: string, known: readonly string[]): string {
  // The longest first: one may be a part of another.
  const longestFirst = known.flatMap(spellingsOf).sort((left, right) => right.length - left.length);
  const masked = longestFirst.reduce((rest, secret) => rest.replaceAll(secret, REDACTED), text);
  return hideUrlPasswords(masked)
    .replace(PRIVATE_KEY, REDACTED)
    .replace(CREDENTIALS, `$1$2${REDACTED}`)
    .replace(NAMED_VALUE, `$1${REDACTED}`)
    .replace(FLAG_VALUE, `$1${REDACTED}`);
}

/** As it is, inside a string of JSON as JSON.stringify or formatJson writes it, and inside a URL. */
function spellingsOf(secret: string): readonly string[] {
  const inJson = [JSON.stringify(secret), formatJson(secret)].map((json) => json.slice(1, -1));
  // encodeURIComponent() throws for half a surrogate pair, which Buffer replaces.
  return [...new Set([secret, ...inJson, encodeURIComponent(Buffer.from(secret).toString())])];
}
