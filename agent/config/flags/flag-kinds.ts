/**
 * The kinds of value a flag can have: how each is read from text and how it is described to a person.
 *
 * A kind is independent of flag names and of the source of the text; it calls `fail` with the remedy.
 */

import { Address, type Family, Prefix } from "../../../ipam/addresses/ip.ts";
import { errorMessage } from "../../../ipam/errors.ts";
import { parseGoPattern } from "./go-pattern.ts";

/** Ends the reading of a value; `remedy` completes the sentence "… is wrong: ". */
export type Fail = (remedy: string) => never;

export interface Kind<T> {
  /** The placeholder of the value in a usage line; empty for switches, which need none. */
  readonly placeholder: string;
  /** Reads all that was given for the flag, in order; a flag that takes one value takes the last. */
  readonly parse: (texts: readonly string[], fail: Fail) => T;
  readonly isRepeatable: boolean;
}

function single<T>(placeholder: string, parse: (text: string, fail: Fail) => T): Kind<T> {
  return { placeholder, parse: (texts, fail) => parse(texts.at(-1) ?? "", fail), isRepeatable: false };
}

/** Text of one line: a line break at the end of a path or a name would not show in errors of what uses it. */
export function text(placeholder: string): Kind<string> {
  return single(placeholder, (value, fail) =>
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    /[\x00-\x1f\x7f]/.test(value) ? fail("remove its line break or other control character") : value,
  );
}

/** Any text, as of passwords. */
export function anyText(placeholder: string): Kind<string> {
  return single(placeholder, (value) => value);
}

const SWITCH_WORDS = new Map<string, boolean>([
  ...["1", "t", "T", "TRUE", "true", "True"].map((word) => [word, true] as const),
  ...["0", "f", "F", "FALSE", "false", "False"].map((word) => [word, false] as const),
]);

/** A boolean, in the words of Go's strconv.ParseBool. */
export const toggle: Kind<boolean> = single(
  "",
  (value, fail) => SWITCH_WORDS.get(value) ?? fail("give true or false"),
);

/** A whole number from `minimum` to `maximum`. */
export function integer(placeholder: string, minimum: number, maximum: number): Kind<number> {
  return single(placeholder, (value, fail) => {
    const number = /^(0|-?[1-9]\d*)$/.test(value) ? Number(value) : Number.NaN;
    if (number >= minimum && number <= maximum) return number;
    return fail(`give a whole number from ${minimum} to ${maximum}`);
  });
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3600 };

/** A duration in seconds: a bare number of seconds, or numbers with ms, s, m, h such as `1h30m`. */
export function duration(minimumSeconds: number, maximumSeconds: number): Kind<number> {
  return single("DURATION", (value, fail) => {
    const seconds = parseDuration(value);
    if (seconds >= minimumSeconds && seconds <= maximumSeconds) return seconds;
    return fail(`give a duration from ${minimumSeconds}s to ${maximumSeconds}s, such as 90s or 24h`);
  });
}

/** NaN for anything that is not a duration. */
function parseDuration(value: string): number {
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value);
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(value)) return Number.NaN;
  let seconds = 0;
  for (const [, count, unit] of value.matchAll(/([\d.]+)(ms|s|m|h)/g)) {
    seconds += Number(count) * (UNIT_SECONDS[unit ?? ""] ?? Number.NaN);
  }
  return seconds;
}

/** One of a few words. */
export function choice<const W extends string>(...words: readonly W[]): Kind<W> {
  return single(words.join("|"), (value, fail) => {
    const found = words.find((word) => word === value);
    return found ?? fail(`give one of ${words.join(", ")}`);
  });
}

/** An address of the family, or of either; empty text is null. */
export function address(family?: Family): Kind<Address | null> {
  return single("IP", (value, fail) => {
    if (value === "") return null;
    const parsed = attempt(() => Address.parse(value));
    if (parsed && (family === undefined || parsed.family === family)) return parsed;
    return fail(family === undefined ? "give an IP address" : `give an IPv${family} address`);
  });
}

/** An address and port to listen on, such as `127.0.0.1:8080` or `[::1]:8080`; empty text is null. */
export const listenAddress: Kind<{ readonly address: Address; readonly port: number } | null> = single(
  "IP:PORT",
  (value, fail) => {
    if (value === "") return null;
    const [, bracketed, bare, digits] = /^(?:\[(.+)\]|([^:]+)):([1-9]\d{0,4})$/.exec(value) ?? [];
    const parsed = Address.parseOrNull(bracketed ?? bare ?? "");
    const isFitting = parsed?.family === (bracketed === undefined ? 4 : 6) && Number(digits) <= 65_535;
    if (parsed !== null && isFitting) return { address: parsed, port: Number(digits) };
    return fail("give an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080");
  },
);

/** A comma-separated list; blanks and empty items are dropped. */
export function list(placeholder: string): Kind<readonly string[]> {
  return single(`${placeholder},…`, splitList);
}

/** A comma-separated list of prefixes. */
export const prefixes: Kind<readonly Prefix[]> = single("CIDR,…", (value, fail) =>
  splitList(value).map(
    (item) =>
      attempt(() => Prefix.parse(item)) ??
      fail(`"${item}" is not a prefix; write each one as address/length`),
  ),
);

function splitList(value: string): readonly string[] {
  return value
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

/** A value that may be given several times; the order is kept. Empty text counts as not given. */
export function repeated<T>(placeholder: string, parse: (text: string, fail: Fail) => T): Kind<readonly T[]> {
  return {
    placeholder,
    parse: (texts, fail) => texts.filter((value) => value !== "").map((value) => parse(value, fail)),
    isRepeatable: true,
  };
}

/** A regular expression as Go would read it. */
export function pattern(value: string, fail: Fail): RegExp {
  try {
    return parseGoPattern(value);
  } catch (error) {
    return fail(`give a regular expression (${errorMessage(error)})`);
  }
}

/** A single kind of value that only this file's users need. */
export function custom<T>(placeholder: string, parse: (text: string, fail: Fail) => T): Kind<T> {
  return single(placeholder, parse);
}

/** The result, or undefined when the reading throws: the caller knows the better sentence. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
