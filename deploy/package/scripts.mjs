/** The scripts that packages run on a host: what they have in common, and their blanks. */

import { readFileSync } from "node:fs";

/** A shell function: see there. */
export const LEAVE_RUNTIMES = readFileSync(new URL("leave-runtimes.sh", import.meta.url), "utf8").trimEnd();

/** The template with a value for each @NAME@. */
export function fillIn(template, values) {
  return template.replace(/@([A-Z]+)@/g, (_, name) => values[name]);
}
