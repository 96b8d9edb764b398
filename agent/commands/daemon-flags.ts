/**
 * Lets a command take flags of tulled in tulled's own spellings (`-x`, `--x`, `=value` or the next argument),
 * which the command-line library would read as clusters of short options.
 *
 * Separates arguments only; what the values mean is decided where the daemon decides it.
 */

import { isSwitch } from "../config/flag-parser.ts";
import { type FlagName, isFlagName } from "../config/flags.ts";

export interface SplitArguments {
  /** For parseFlags. */
  readonly daemon: readonly string[];
  /** Everything else, in its order. */
  readonly rest: readonly string[];
}

/** Takes the flags in `names`, with their values, out of `args`; `--` ends the flags. Pure. */
export function splitDaemonFlags(args: readonly string[], names: readonly FlagName[]): SplitArguments {
  const daemon: string[] = [];
  const rest: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const argument = args[index] ?? "";
    if (argument === "--") {
      rest.push(...args.slice(index));
      break;
    }
    const [, name = "", value] = /^--?([^-=][^=]*)(=.*)?$/s.exec(argument) ?? [];
    if (!isFlagName(name) || !names.includes(name)) {
      rest.push(argument);
      continue;
    }
    daemon.push(argument);
    const next = args[index + 1];
    if (value === undefined && !isSwitch(name) && next !== undefined) {
      daemon.push(next);
      index += 1;
    }
  }
  return { daemon, rest };
}
