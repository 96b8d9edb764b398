/** How a program reports a failure on standard error: one line, the same for every program and command. */

import { errorMessage, TulleError } from "../../ipam/errors.ts";
import { escapeText } from "../../ipam/escape.ts";

/** Longest sentence that a line for people holds, in UTF-16 units; a message quotes at most a few values. */
export const SENTENCE_LIMIT = 2000;

/** `tulle: message [CODE]`, where docs/errors.md explains the code; ends with a newline. */
export function errorLine(program: string, error: unknown): string {
  const code = error instanceof TulleError ? ` [${error.code}]` : "";
  return `${program}: ${escapeSentence(errorMessage(error))}${code}\n`;
}

/** One printable line; line breaks, which multi-line messages of libraries hold, become blanks. */
export function escapeSentence(text: string): string {
  return escapeText(text.trim().replace(/\s*[\r\n]\s*/g, " "), SENTENCE_LIMIT);
}
