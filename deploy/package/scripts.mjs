/** The scripts that packages run on a host: what they have in common, and their blanks. */

import { readFileSync } from "node:fs";

/** Shell functions: see there. */
export const LEAVE_RUNTIMES = shellFunction("leave-runtimes.sh");
export const OWN_UNITS = shellFunction("own-units.sh");

function shellFunction(file) {
  return readFileSync(new URL(file, import.meta.url), "utf8").trimEnd();
}

/** The template with a value for each @NAME@. */
export function fillIn(template, values) {
  return template.replace(/@([A-Z]+)@/g, (_, name) => values[name]);
}
