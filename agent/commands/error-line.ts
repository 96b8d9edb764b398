/** How a failure is said on standard error: one line, the same for every command. */

import { errorMessage, TulleError } from "../../ipam/errors.ts";

/** The program, the message, and the code that docs/errors.md explains; ends with a newline. */
export function errorLine(error: unknown): string {
  const code = error instanceof TulleError ? ` [${error.code}]` : "";
  return `tulle: ${oneLine(errorMessage(error))}${code}\n`;
}

/** The text without line breaks. */
export function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, " ");
}
