/** How the programs of this installation are run: words of the one executable, or Node programs beside this one. */

import { realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { COMMAND_LINE } from "./program-choice.ts";

/** Whether this is the executable, which holds all programs and Bun's runtime (deploy/package/executable.mjs). */
export const isExecutable = process.versions.bun !== undefined;

/** The start of a command line that runs a program of the installation that runs now. */
export function commandOf(program: "tulle" | "tulled"): readonly string[] {
  if (isExecutable) {
    const name = basename(process.execPath);
    const isNamedSo = program === "tulle" ? COMMAND_LINE.test(name) : name === program;
    return isNamedSo ? [process.execPath] : [process.execPath, program];
  }
  return [process.execPath, join(dirname(realpathSync(process.argv[1] ?? "")), program)];
}
