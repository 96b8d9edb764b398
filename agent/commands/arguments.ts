/**
 * Separates the arguments of a command: its own options, the flags of tulled in tulled's spellings (`-x`, `--x`,
 * `=value` or the next argument), which the command-line library would read as clusters of short options, and empty
 * arguments, which systemd and shells make of an unset variable.
 *
 * Separates only; the daemon's own code reads the values.
 */

import type { Command, Option } from "commander";
import { isSwitch } from "../config/flag-parser.ts";
import { FLAG_NAMES, type FlagName, isFlagName } from "../config/flags.ts";

export interface SplitArguments {
  /** For parseFlags. */
  readonly daemon: readonly string[];
  /** Everything else, in its order. */
  readonly rest: readonly string[];
  /** Empty arguments that were dropped; the empty value of an option or a flag is not one. */
  readonly emptyCount: number;
}

/** An option of a command, as far as the separation needs it; commander's Option fits. */
export type OwnOption = Pick<Option, "long" | "short" | "required" | "optional">;

/** Flags that make tulled do something instead of running. They are not settings, so commands do not take them. */
const ACTIONS: readonly FlagName[] = ["help", "version"];

/** All settings of tulled. A command that reads tulled's configuration takes them all. */
export const DAEMON_SETTINGS: readonly FlagName[] = FLAG_NAMES.filter((name) => !ACTIONS.includes(name));

/**
 * Takes the flags in `names`, with their values, out of `args`. An option of `own` wins over a flag of the same name.
 * `--` ends the flags. Pure.
 */
export function splitArguments(
  args: readonly string[],
  names: readonly FlagName[],
  own: readonly OwnOption[],
): SplitArguments {
  const daemon: string[] = [];
  const rest: string[] = [];
  let emptyCount = 0;
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] ?? "";
    if (argument === "--") {
      rest.push(...args.slice(index));
      break;
    }
    if (argument === "") {
      emptyCount += 1;
      continue;
    }
    const { target, takesNext } = roleOf(argument, names, own);
    (target === "daemon" ? daemon : rest).push(argument);
    const next = args[index + 1];
    if (!takesNext || next === undefined) continue;
    (target === "daemon" ? daemon : rest).push(next);
    index += 1;
  }
  return { daemon, rest, emptyCount };
}

/** The options of a command and of those of its subcommands that the arguments name. */
export function ownOptions(command: Command, args: readonly string[]): readonly OwnOption[] {
  const options = [...command.options];
  let innermost = command;
  for (const argument of args) {
    const subcommand = innermost.commands.find((one) => one.name() === argument);
    if (subcommand === undefined) continue;
    innermost = subcommand;
    options.push(...subcommand.options);
  }
  return options;
}

interface Role {
  readonly target: "daemon" | "rest";
  /** The next argument is its value, even if it is empty. */
  readonly takesNext: boolean;
}

function roleOf(argument: string, names: readonly FlagName[], own: readonly OwnOption[]): Role {
  const [option = "", ...value] = argument.split("=", 2);
  const hasValue = value.length > 0;
  const ownOption = own.find(({ long, short }) => option === long || option === short);
  if (ownOption !== undefined) return { target: "rest", takesNext: ownOption.required && !hasValue };
  const [, name = ""] = /^--?([^-=][^=]*)$/s.exec(option) ?? [];
  if (!isFlagName(name) || !names.includes(name)) return { target: "rest", takesNext: false };
  return { target: "daemon", takesNext: !hasValue && !isSwitch(name) };
}
