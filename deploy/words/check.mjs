/** Finds phrases in the prose of a file: comments of code, and all text of documents. Pure. */

import { PHRASES } from "./phrases.mjs";

/**
 * The prose of a file, line by line: `{ line, text }`, where `line` counts from 1. Of a Markdown file everything
 * but fenced blocks and `code`; of others the comments.
 */
export function commentLines(file, text) {
  const lines = text.split("\n");
  return file.endsWith(".md") ? documentLines(lines) : codeLines(file, lines);
}

/** Every phrase in these lines; a phrase that a line break divides is found on its first line. */
export function findPhrases(lines) {
  return lines.flatMap(({ line, text }, index) => {
    const next = lines[index + 1];
    const joined = next?.line === line + 1 ? `${text} ${next.text}` : text;
    return PHRASES.flatMap(([pattern, remedy]) => {
      const found = pattern.exec(joined);
      if (found === null || found.index >= text.length) return [];
      return [{ line, phrase: found[0], remedy }];
    });
  });
}

function documentLines(lines) {
  let isFenced = false;
  return lines.flatMap((raw, index) => {
    if (/^\s*(```|~~~)/.test(raw)) isFenced = !isFenced;
    else if (!isFenced) return [{ line: index + 1, text: withoutQuotes(raw) }];
    return [];
  });
}

function codeLines(file, lines) {
  const hash = /\.(sh|service|conf)$/.test(file);
  let isInBlock = false;
  return lines.flatMap((raw, index) => {
    let text = "";
    if (hash) text = /^\s*#(?!!)(.*)$/.exec(raw)?.[1] ?? "";
    else if (isInBlock) text = /^(.*?)(\*\/|$)/.exec(raw)?.[1]?.replace(/^\s*\*/, "") ?? "";
    else text = /^\s*\/\*\*?(.*?)(\*\/|$)/.exec(raw)?.[1] ?? /(?:^|\s)\/\/ (.*)$/.exec(raw)?.[1] ?? "";
    if (!hash) {
      if (!isInBlock && /^\s*\/\*/.test(raw)) isInBlock = !raw.includes("*/");
      else if (isInBlock && raw.includes("*/")) isInBlock = false;
    }
    return text.trim() === "" ? [] : [{ line: index + 1, text: withoutQuotes(text.trim()) }];
  });
}

/** Code and quotations keep their words: an error of another program is written as it is. */
function withoutQuotes(text) {
  return text.replace(/`[^`]*`|"[^"]*"/g, "…");
}
