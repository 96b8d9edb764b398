/** How the programs of this installation are run: words of the one executable, or Node programs beside this one. */

import { accessSync, constants, realpathSync, statSync } from "node:fs";
import { basename, delimiter, dirname, join, resolve } from "node:path";
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
 * The path of this program that stays over an upgrade: of a file outside of PATH, which is `searchPath`, the link by which
 * it was called; else the file.
 */
export function lastingPath(searchPath: string): string {
  // sh gives a script its whole path; to the executable it gives only the word that was typed.
  if (!isExecutable) return resolve(process.argv[1] ?? "");
  const folders = searchPath.split(delimiter);
  if (folders.includes(dirname(process.execPath))) return process.execPath;
  const called = process.argv0;
  const places = called.includes("/") ? [resolve(called)] : folders.map((folder) => resolve(folder, called));
  return places.find(isThisProgram) ?? process.execPath;
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
