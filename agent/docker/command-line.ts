/** Words of a command in a systemd unit: quoting as in systemd.syntax(7), variables as in systemd.service(5). Pure. */

import { ConfigError } from "../../ipam/errors.ts";

export interface Word {
  /** As written, with its quotes. */
  readonly raw: string;
  /** Without quotes and escapes; variables are not replaced. */
  readonly text: string;
}

/** One quoted or plain piece of a word. */
const PIECE = /"((?:[^"\\]|\\[\s\S])*)"|'((?:[^'\\]|\\[\s\S])*)'|((?:[^\s"'\\]|\\[\s\S])+)/y;

/** Splits a value into words. A quote without its end is taken as it is with `isRelaxed`, else a ConfigError. */
export function splitWords(value: string, isRelaxed = false): readonly Word[] {
  const words: Word[] = [];
  let position = 0;
  while (position < value.length) {
    if (/\s/.test(value[position] ?? "")) {
      position++;
      continue;
    }
    const start = position;
    let text = "";
    while (position < value.length && !/\s/.test(value[position] ?? "")) {
      PIECE.lastIndex = position;
      const match = PIECE.exec(value);
      if (match === null && !isRelaxed)
        throw new ConfigError(`docker.service: a quote has no end in ${value.slice(start)}`);
      text += match === null ? value.slice(position) : unescaped(match[1] ?? match[2] ?? match[3] ?? "");
      position = match === null ? value.length : PIECE.lastIndex;
    }
    words.push({ raw: value.slice(start, position), text });
  }
  return words;
}

/** A word as systemd reads it back: in quotes where it needs them, without variables and specifiers. */
export function quoteWord(text: string): string {
  const escaped = text.replace(/[\\"]/g, "\\$&").replace(/[$%]/g, "$&$&");
  return /^[\w./@:+~-]+$/.test(text) ? text : `"${escaped}"`;
}

/** The words that one word becomes: `$NAME` alone any number, `${NAME}` inside a word none more. */
export function expandWord(text: string, variables: ReadonlyMap<string, string>): readonly string[] {
  const alone = /^\$([A-Za-z_]\w*)$/.exec(text)?.[1];
  if (alone !== undefined) return splitWords(variables.get(alone) ?? "", true).map((word) => word.text);
  const replaced = text.replace(/\$(?:\{([A-Za-z_]\w*)\}|\$)/g, (_, name?: string) =>
    name === undefined ? "$" : (variables.get(name) ?? ""),
  );
  return [replaced.replaceAll("%%", "%")];
}

/** The name of the variable that a word consists of; null for any other word. */
export function variableIn(text: string): string | null {
  return /^\$\{?([A-Za-z_]\w*)\}?$/.exec(text)?.[1] ?? null;
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  s: " ",
  t: "\t",
  v: "\v",
  '"': '"',
  "'": "'",
  "\\": "\\",
  ";": ";",
};

/** C escapes; an unknown one stays as written. */
function unescaped(text: string): string {
  return text.replace(
    /\\(?:x([\da-fA-F]{2})|([0-7]{3})|([\s\S]))/g,
    (all, hex?: string, octal?: string, letter?: string) => {
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
      return ESCAPES[letter ?? ""] ?? all;
    },
  );
}
