/**
 * All commands of `tulle` and all flags of tulled as plain data, taken from the tables that --help shows. Manual pages and
 * completions are made of it when the programs are built, so that they cannot differ from what the programs do.
 */

import { Command, type Option } from "commander";
import { GROUPS } from "../config/flags/flag.ts";
import { environmentName, FLAG_NAMES, flagOf } from "../config/flags.ts";
import type { CommandContext } from "../terminal/command.ts";
import { DAEMON_SETTINGS } from "./arguments.ts";
import { inheritSettings } from "./inherit-settings.ts";
import { COMMANDS } from "./registry.ts";

export interface OptionReference {
  /** As in the help: `--subnet <cidr>`. */
  readonly usage: string;
  /** `-h`, `--help`: every spelling of it. */
  readonly names: readonly string[];
  readonly summary: string;
  readonly takesValue: boolean;
  /** The values that it takes; empty where any is allowed. */
  readonly choices: readonly string[];
  /** As the help shows it; "" where there is none, or the summary says it. */
  readonly default: string;
}

export interface CommandReference {
  /** Without the program's name: `network create`. */
  readonly name: string;
  readonly summary: string;
  /** Behind the name: `[options] <name>`. */
  readonly usage: string;
  /** Those that its help describes. */
  readonly arguments: readonly { readonly name: string; readonly summary: string }[];
  readonly options: readonly OptionReference[];
  /** What its help says below the options. */
  readonly notes: string;
  readonly takesDaemonFlags: boolean;
  readonly commands: readonly CommandReference[];
}

export interface FlagReference extends OptionReference {
  readonly group: string;
  /** False for --help and --version, which no other command takes. */
  readonly isSetting: boolean;
  /** Of a setting; else "". */
  readonly variable: string;
}

/** Every command, in the order of the help. */
export async function commandReference(): Promise<readonly CommandReference[]> {
  const program = new Command().helpOption("-h, --help", "print the help");
  return await Promise.all(
    COMMANDS.map(async ({ name, summary, load }) => {
      const command = program.command(name).description(summary);
      const { daemonFlags = [], define } = await load();
      define(command, UNUSED);
      inheritSettings(command);
      return describe(command, [], daemonFlags.length > 0);
    }),
  );
}

/** Every flag of tulled, in the order of its help. */
export function flagReference(): readonly FlagReference[] {
  return GROUPS.flatMap((group) =>
    FLAG_NAMES.filter((name) => flagOf(name).group === group).map((name) => {
      const { kind, help, default: standard } = flagOf(name);
      const isSetting = DAEMON_SETTINGS.includes(name);
      return {
        group,
        isSetting,
        usage: kind.placeholder === "" ? `--${name}` : `--${name} ${kind.placeholder}`,
        names: [`--${name}`],
        summary: help,
        takesValue: kind.placeholder !== "",
        choices: /^[a-z|-]+\|[a-z|-]+$/.test(kind.placeholder) ? kind.placeholder.split("|") : [],
        variable: isSetting ? environmentName(name) : "",
        default: isSetting ? standard : "",
      };
    }),
  );
}

/** Commands are described, never run: none of their actions gets to see it. */
const UNUSED = {} as CommandContext;

function describe(command: Command, parents: readonly string[], takesDaemonFlags: boolean): CommandReference {
  const path = [...parents, command.name()];
  return {
    name: path.join(" "),
    summary: command.description(),
    usage: command.usage(),
    arguments: command
      .createHelp()
      .visibleArguments(command)
      .map((argument) => ({ name: argument.name(), summary: argument.description })),
    options: command.createHelp().visibleOptions(command).map(referenceOf),
    notes: notesOf(command),
    takesDaemonFlags,
    commands: command.commands.map((each) => describe(each, path, takesDaemonFlags)),
  };
}

function referenceOf(option: Option): OptionReference {
  const { flags, long, short, description, required, optional, argChoices } = option;
  const takesValue = required || optional;
  const standard: unknown = option.defaultValueDescription ?? option.defaultValue;
  return {
    usage: flags,
    names: [short, long].filter((name) => name !== undefined && name !== null),
    summary: description,
    takesValue,
    choices: argChoices ?? [],
    default: takesValue && standard !== undefined ? String(standard) : "",
  };
}

/** What commander prints behind the options and subcommands. */
function notesOf(command: Command): string {
  let text = "";
  const before = command.helpInformation();
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
  });
  command.outputHelp();
  return text.slice(before.length).trim();
}
