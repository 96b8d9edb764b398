/**
 * Reads a regular expression as Go does (https://pkg.go.dev/regexp/syntax), as far as JavaScript has the same under another
 * spelling: JavaScript takes `\A` for an A and `[[:digit:]]` for a set of letters, without an error.
 */

/** Flags that both have with one meaning, at the beginning of a pattern. */
const FLAGS = /^\(\?([ims]+)\)/;

/** An escape, a set in brackets, or the beginning of a named group. A bracket that comes first in a set stands for itself. */
const TOKENS =
  /\\(?<escaped>x\{|.)|(?<open>\[\^?)(?<first>\]?)(?<rest>(?:\\.|\[:\^?\w+:\]|[^\\\]])*)\]|\(\?P(?=<)/g;

const SET_PARTS = /\\(?<escaped>x\{|.)|\[:(?<name>\^?\w+):\]/g;

/** Letters after a backslash that both read alike, and those that only JavaScript has. */
const ESCAPES = "dDwWsSbBtnrfvxukc";

const ANCHORS: Readonly<Record<string, string>> = { A: "^", z: "$" };

const SETS: Readonly<Record<string, string>> = {
  alnum: "0-9A-Za-z",
  alpha: "A-Za-z",
  ascii: "\\x00-\\x7f",
  blank: "\\t ",
  cntrl: "\\x00-\\x1f\\x7f",
  digit: "0-9",
  graph: "!-~",
  lower: "a-z",
  print: " -~",
  punct: "!-\\/:-@\\[-`{-~",
  space: "\\t\\n\\v\\f\\r ",
  upper: "A-Z",
  word: "\\w",
  xdigit: "0-9A-Fa-f",
};

/** Throws SyntaxError for what is not a pattern, and for what JavaScript cannot express, by its name. */
export function parseGoPattern(text: string): RegExp {
  const flags = FLAGS.exec(text);
  const source = text.slice(flags?.[0].length ?? 0).replace(TOKENS, (token, ...rest) => {
    const { escaped, open, first, rest: parts } = rest.at(-1) as Record<string, string | undefined>;
    if (escaped !== undefined) return ANCHORS[escaped] ?? readEscape(token, escaped);
    if (open === undefined) return "(?";
    return `${open}${first && "\\]"}${readSet(parts ?? "")}]`;
  });
  return new RegExp(source, [...new Set(flags?.[1])].join(""));
}

function readSet(parts: string): string {
  return parts.replace(SET_PARTS, (token, escaped: string | undefined, name: string | undefined) => {
    if (escaped !== undefined) return readEscape(token, escaped);
    const found = SETS[name ?? ""];
    if (found === undefined) throw new SyntaxError(`${token} is not supported`);
    return found;
  });
}

function readEscape(token: string, escaped: string): string {
  if (/[A-Za-z]/.test(escaped) && !ESCAPES.includes(escaped))
    throw new SyntaxError(`${token} is not supported`);
  return token;
}
