/** How the programs of this installation are run: words of the one executable, or Node programs beside this one. */

import { accessSync, constants, realpathSync, statSync } from "node:fs";
import { basename, delimiter, dirname, join, resolve } from "node:path";
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

/**
 * The path by which this program was called, which stays when an upgrade moves its file behind a link; else its file.
 * `searchPath` is PATH.
 */
export function calledPath(searchPath: string): string {
  // sh gives a script its whole path; of the executable it gives only the word that was typed.
  if (!isExecutable) return resolve(process.argv[1] ?? "");
  const called = process.argv0;
  const folders = called.includes("/") ? [""] : searchPath.split(delimiter);
  return folders.map((folder) => resolve(folder, called)).find(isThisProgram) ?? process.execPath;
}

function isThisProgram(file: string): boolean {
  try {
    return realpathSync(file) === realpathSync(process.execPath);
  } catch {
    return false; // not there
  }
}

/** Whether a file can be run. */
export function isProgramFile(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false; // absent, or not for us
  }
}
