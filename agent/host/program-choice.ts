/** Which program the executable is to be: by its name, or by the first word. Reads links only. */

import { accessSync, constants, readlinkSync } from "node:fs";
import { basename, delimiter, dirname, join, resolve } from "node:path";
import { escapeText } from "../../ipam/escape.ts";

const NAMES = ["tulle", "tulled", "tulle-cni", "tulle-netavark"] as const;

export type ProgramName = (typeof NAMES)[number];

/** The command line's names: its own, and that of the file as it is released. */
export const COMMAND_LINE = /^tulle(-linux-\w+)?$/;

/** Longest chain of links that the kernel follows (path_resolution(7)). */
const MOST_LINKS = 40;

const LONGEST_NAME = 255;

/** Of execvp(3), where the variable is not set. */
const DEFAULT_PATH = "/bin:/usr/bin";

export interface ProgramChoice {
  readonly program: ProgramName;
  /** The first word named it, and is not one of the program's own words. */
  readonly isFirstWord: boolean;
}

/** The file has a name that no program has. */
export class UnknownNameError extends Error {}

/**
 * `calledAs` is the first of the kernel's arguments, `words` are those behind it. Throws UnknownNameError.
 *
 * Of the names along a chain of links the first of a plugin or of the daemon decides: podman requires that its link to
 * tulle-netavark has the name of the network's driver, which may be "tulle", and CNI the name of the plugin's type.
 */
export function chooseProgram(
  calledAs: string,
  words: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): ProgramChoice {
  let isCommandLine = false;
  for (const name of namesOf(calledAs, environment.PATH ?? DEFAULT_PATH)) {
    if (COMMAND_LINE.test(name)) isCommandLine = true;
    else if (isProgram(name)) return { program: name, isFirstWord: false };
  }
  // A runtime calls a CNI plugin without words, by the name of its type (CNI specification, section 2).
  if (words.length === 0 && environment.CNI_COMMAND !== undefined)
    return { program: "tulle-cni", isFirstWord: false };
  const [first = ""] = words;
  if (isProgram(first)) return { program: first, isFirstWord: true };
  if (isCommandLine) return { program: "tulle", isFirstWord: false };
  throw new UnknownNameError(complaint(basename(calledAs)));
}

/** The name of a file, and those of the files that it links to. */
function* namesOf(calledAs: string, searchPath: string): Generator<string> {
  yield basename(calledAs);
  // Of a file that the shell found in PATH, it passes on the word alone.
  let file = calledAs.includes("/") ? calledAs : (foundIn(searchPath, calledAs) ?? calledAs);
  for (let count = 0; count < MOST_LINKS; count++) {
    let target: string;
    try {
      target = readlinkSync(file);
    } catch {
      return; // the chain ends at what is not a link, or was removed since
    }
    file = resolve(dirname(file), target);
    yield basename(file);
  }
}

/** As execvp(3) looks for a program; null where none is there. */
function foundIn(searchPath: string, name: string): string | null {
  for (const folder of searchPath.split(delimiter)) {
    const file = join(folder, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // the next folder may have it
    }
  }
  return null;
}

function isProgram(name: string): name is ProgramName {
  return (NAMES as readonly string[]).includes(name);
}

function complaint(name: string): string {
  return `the name "${escapeText(name, LONGEST_NAME)}" of this file is unknown: call it ${NAMES.join(", ")}, or give one of these as the first word`;
}
