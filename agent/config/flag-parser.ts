/**
 * Reads a command line as Go's `flag` package does: `-x`, `--x`, `-x=v`, `-x v`; switches take a value
 * only after `=`; `--` ends the flags.
 *
 * It knows which flags exist and which are switches, not what their values mean. It differs from Go in two points:
 * an argument that is not a flag is an error, where Go silently ignores it and all that follows; an empty argument,
 * which systemd makes of an unset `${VARIABLE}`, is skipped.
 */

import { ConfigError } from "../../ipam/errors.ts";
import { closest } from "./closest.ts";
import { FLAG_NAMES, type FlagName, flagOf, isFlagName } from "./flags.ts";

/** What was given for each flag, in order. */
export type GivenFlags = ReadonlyMap<FlagName, readonly string[]>;

/** The warning about an empty argument. */
export const EMPTY_ARGUMENT =
  "an empty argument is ignored: a variable of the unit file or script may be unset";

/** Reads the arguments that follow the program's name; adds to `warnings` what it ignores. Throws ConfigError. */
export function parseFlags(args: readonly string[], warnings: string[]): GivenFlags {
  const given = new Map<FlagName, string[]>();
  const rest = [...args];
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    if (argument === "--") {
      refuseWords(rest, null);
      break;
    }
    if (argument === "") {
      if (!warnings.includes(EMPTY_ARGUMENT)) warnings.push(EMPTY_ARGUMENT);
      continue;
    }
    const match = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(argument);
    if (!match) {
      refuseWords([argument], [...given.keys()].at(-1) ?? null);
      continue;
    }
    const name = knownName(match[1] ?? "");
    const value = match[2] ?? (isSwitch(name) ? "true" : rest.shift());
    if (value === undefined) {
      throw new ConfigError(`flag -${name} needs a value: write -${name}=${flagOf(name).kind.placeholder}`);
    }
    given.set(name, [...(given.get(name) ?? []), value]);
  }
  return given;
}

/** True for a flag that needs no value. */
export function isSwitch(name: FlagName): boolean {
  return flagOf(name).kind.placeholder === "";
}

function knownName(name: string): FlagName {
  if (isFlagName(name)) return name;
  if (name === "h") return "help";
  throw new ConfigError(`unknown flag -${name}${suggestion(name)}; see --help for all flags`);
}

/** `: did you mean -iface?`, or nothing when no name is similar. */
function suggestion(name: string): string {
  const near = closest(name, FLAG_NAMES);
  return near === null ? "" : `: did you mean -${near}?`;
}

function refuseWords(words: readonly string[], previous: FlagName | null): void {
  const word = words.find((one) => one !== "");
  if (word === undefined) return;
  const hint =
    previous !== null && isSwitch(previous)
      ? `write -${previous}=${word} if it belongs to -${previous}`
      : "remove it or put a flag's name before it";
  throw new ConfigError(`unexpected argument "${word}": ${hint}`);
}
