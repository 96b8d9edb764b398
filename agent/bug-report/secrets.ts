/** Takes secrets out of text that leaves the host. Pure. */

import { formatJson } from "../../ipam/escape.ts";
import { FLAG_NAMES, type FlagName, flagOf } from "../config/flags.ts";
import type { Settings } from "../config/settings.ts";
import { isSecretName, SECRET_NAME } from "../report/secret-names.ts";
import { hideUrlPasswords } from "../report/url-passwords.ts";
import type { GivenSettings } from "../terminal/command.ts";
import { hideCommandSecrets } from "./command-secrets.ts";

const REDACTED = "[redacted]";
const SECRET_FLAGS = FLAG_NAMES.filter((name) => flagOf(name).isSecret);
const SECRET_FILES = FLAG_NAMES.filter((name) => flagOf(name).isSecretFile);
/** Shorter values are words that occur everywhere; what a name tells is redacted anyway. */
const SHORTEST_SECRET = 6;

// All repetitions have a limit: text of others must not make a report take hours.
const NAME = String.raw`(?:${SECRET_NAME})[\w.-]{0,64}`;
/** In quotes, which inside a string of JSON have backslashes before them, or a list or an object of JSON. */
const QUOTED = String.raw`"(?:\\.|[^"\\\n]){0,2000}"|'[^'\n]{0,2000}'|(\\{1,9})"[^\n]{0,2000}?(?<!\\)\2"|\[[^\]]{0,2000}\]|\{[^}]{0,2000}\}`;
/** Shown under any name: paths of files that hold a secret, and whether there is one. */
const HARMLESS = String.raw`(?!\\{0,9}["']?(?:/(?:etc|var|run|usr|opt|srv|home|root|tmp|mnt|dev)/|(?:true|false|null)(?![\w-])))`;
/** `"PSK": "x"`, `token=x`, `password: x`, `PSK "x"`, and `tokens:` above `- x`. */
const NAMED_VALUES: readonly RegExp[] = [
  String.raw`(${NAME}\\{0,9}["']?\s{0,64}(?:=>|:|=|%3D)\s{0,64}(?:-\s{1,9})?)${HARMLESS}(?:${QUOTED}|(?:\\ |[^\s,}])+)`,
  String.raw`(${NAME}=)${HARMLESS}(?:\\[^"'\n]|[^\s"'\\])+`,
  String.raw`(${NAME}\s{1,64})"[^"\n]{1,2000}"`,
].map((pattern) => new RegExp(pattern, "gi"));
/** `--consul-token x`, also as two strings of a list. */
const FLAG_VALUE = new RegExp(
  String.raw`((?:^|[\s"'])--?[\w.-]{0,64}?${NAME}(?:\s{1,64}|["']\s{0,64},\s{0,64}))(?:"[^"\n]{0,2000}"|'[^'\n]{0,2000}'|\S+)`,
  "gim",
);
/** `-u USER:PASSWORD` of curl and others. */
const USER_VALUE = /((?:^|\s)(?:-u|--user|--proxy-user)[\s=]{1,64}["']?[^\s:"']{0,256}:)[^\s"']+/gm;
/** `password is x`, `token x`: in comments of rules. Only what has letters and digits: most words after a name are harmless. */
const WORDS = String.raw`[\w+=.~-]`;
const WORD_VALUE = new RegExp(
  String.raw`(${NAME}[ \t]{1,9}(?:is[ \t]{1,9})?)(?!\.)(?=${WORDS}{0,64}\d)(?=${WORDS}{0,64}[a-z])${WORDS}{8,512}`,
  "gi",
);
/** Of a URL. */
const QUERY_VALUE = /([?&][\w.-]{0,64}(?:key|sig|signature|jwt|session|sid|code)=)[^\s&#"'\\]+/gi;
/** In place of USER:PASSWORD, or of USER alone; users of servers have shorter names. */
const URL_TOKEN = /(\w:\/\/)[^\s/:@"',?#\\]{16,512}(?=(?::\[redacted\])?@)/g;
/** `USER:PASSWORD@HOST` without a scheme, before an address, a port or a path; images have digests there. */
const USERINFO =
  /((?:^|[\s"'=,/])[\w.+-]{1,64}:)[^\s@/:"',[\]]{1,256}(?=@(?!sha\d)(?:(?:[\d.]{7,15}|[\w.-]{1,253}:\d{1,5})(?![\w-])|[\w.-]{1,253}\/))/gm;
/** Tokens of GitHub, GitLab, Slack, AWS, Google, Stripe and Vault, and JSON web tokens, by how they begin. */
const KNOWN_TOKEN = new RegExp(
  [
    String.raw`\b(?:gh[oprsu]_|github_pat_|glpat-|xox[abeprs]-|[rs]k_(?:live|test)_|hvs\.)[\w-]{16,512}`,
    String.raw`\b(?:(?:AKIA|ASIA)[A-Z\d]{16}\b|AIza[\w-]{30,100}|(?<!-)eyJ[\w-]{8,2000}\.eyJ[\w-]{8,9000}\.[\w-]{0,2000})`,
  ].join("|"),
  "g",
);
/** RFC 9110, section 11.6.2, and RFC 6265. */
const HEADER = /((?:authorization|cookie)\s*:\s*)(?:\\.|="[^"\n]*"|[^"'\n\\])+/gi;
const CREDENTIALS = /\b(Basic|Bearer)( +)[\w.~+/-]{6,100000}=*/gi;
const PRIVATE_KEY =
  /-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|$)/g;

/**
 * Values that are secret wherever they occur: of settings, which may come from a config file, and of all flags and
 * variables that are given, whether or not they make a configuration. `contents` are those of secret files.
 */
export function knownSecrets(
  settings: Settings | null,
  given: GivenSettings,
  contents: readonly string[] = [],
): readonly string[] {
  const ofSettings = settings === null ? [] : SECRET_FLAGS.flatMap((name) => settings[name].texts);
  const variables = Object.entries(given.environment).flatMap(([key, value]) =>
    isSecretName(key) && value !== undefined ? [value] : [],
  );
  // Of "USER:PASSWORD" the password alone may occur too.
  return [...ofSettings, ...secretArguments(given.args), ...variables, ...contents]
    .map((text) => text.trim())
    .flatMap((text) => [text, text.split(":").slice(1).join(":")])
    .filter((value) => value.length >= SHORTEST_SECRET);
}

/** Files whose content is secret. */
export function secretFiles(settings: Settings): readonly string[] {
  return SECRET_FILES.flatMap((name) => settings[name].texts).filter((path) => path !== "");
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
  const shown = hideCommandSecrets(hideUrlPasswords(masked), REDACTED)
    .replace(PRIVATE_KEY, REDACTED)
    .replace(HEADER, `$1${REDACTED}`)
    .replace(CREDENTIALS, `$1$2${REDACTED}`)
    .replace(FLAG_VALUE, `$1${REDACTED}`)
    .replace(USER_VALUE, `$1${REDACTED}`)
    .replace(QUERY_VALUE, `$1${REDACTED}`)
    .replace(URL_TOKEN, `$1${REDACTED}`)
    .replace(USERINFO, `$1${REDACTED}`)
    .replace(WORD_VALUE, `$1${REDACTED}`)
    .replace(KNOWN_TOKEN, REDACTED);
  return NAMED_VALUES.reduce((rest, pattern) => rest.replace(pattern, `$1${REDACTED}`), shown);
}

/** As it is, inside a string of JSON as JSON.stringify or formatJson writes it, and inside a URL. */
function spellingsOf(secret: string): readonly string[] {
  const inJson = [JSON.stringify(secret), formatJson(secret)].map((json) => json.slice(1, -1));
  // encodeURIComponent() throws for half a surrogate pair, which Buffer replaces.
  return [...new Set([secret, ...inJson, encodeURIComponent(Buffer.from(secret).toString())])];
}

/** The end of a text, at most so many characters, in whole lines: the rest of a line could be a secret without its name. */
export function lastLines(text: string, most: number): string {
  if (text.length <= most) return text;
  const end = text.slice(text.length - most);
  return end.slice(end.indexOf("\n") + 1);
}
