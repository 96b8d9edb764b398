/**
 * The command line `tulle`: finds the command, loads it alone, and turns what it throws into one line.
 *
 * Exit codes: 0 done, 1 failed or a problem found, 2 usage error; the help of a command lists other meanings.
 */

import { Command, CommanderError, Help, type Option } from "commander";
import { errorMessage, hasCode, TulleError } from "../../ipam/errors.ts";
import { type AgentConfig, loadGiven } from "../config/config.ts";
import { flagListing } from "../config/flag-help.ts";
import { EMPTY_ARGUMENT, parseFlags } from "../config/flag-parser.ts";
import type { FlagName } from "../config/flags.ts";
import { VERSION } from "../report/version.ts";
import type { CommandContext } from "../terminal/command.ts";
import { errorLine } from "../terminal/error-line.ts";
import { wrapLines } from "../terminal/wrap.ts";
import { DAEMON_SETTINGS, ownOptions, splitArguments } from "./arguments.ts";
import { inheritSettings } from "./inherit-settings.ts";
import { COMMANDS } from "./registry.ts";

/** What the process gives to every command. */
export type ProgramEdges = Omit<CommandContext, "config" | "configBeside" | "exitWith">;

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
/** Of options and their descriptions, on a terminal that is wide enough. */
const HELP_WIDTH = 100;
/** "tulle net init" has 36 columns for them on a terminal of 80. */
const LEAST_DESCRIPTION_WIDTH = 30;
/** With --help: in full. */
const ALL = "--all";

/** Runs one command line, without the program's name; returns the exit code. Never rejects. */
export async function runProgram(args: readonly string[], edges: ProgramEdges): Promise<number> {
  try {
    return await runCommand(args, edges);
  } catch (error) {
    if (!(error instanceof CommanderError)) {
      edges.err.write(errorLine("tulle", withRemedy(error)));
      return EXIT_FAILED;
    }
    if (error.code === "commander.help" || error.exitCode === 0) return error.exitCode && EXIT_USAGE;
    const message = error.message.replace(/^error: /, "").replace(/\.$/, "");
    edges.err.line(`tulle: ${message}; see tulle${isCommand(args[0]) ? ` ${args[0]}` : ""} --help`);
    return EXIT_USAGE;
  }
}

/** Gives an error of the file system that a privilege would prevent its code and remedy. */
function withRemedy(error: unknown): unknown {
  if (!hasCode(error, "EACCES") && !hasCode(error, "EPERM")) return error;
  const message = `${errorMessage(error)}: run as root, or name another place`;
  return new TulleError("TULLE_PREREQUISITE", message, { cause: error });
}

async function runCommand(args: readonly string[], edges: ProgramEdges): Promise<number> {
  const program = newProgram(edges);
  const leadingEmpty = args.findIndex((argument) => argument !== "");
  const words = leadingEmpty < 0 ? [] : args.slice(leadingEmpty);
  const given = commandWords(words);
  const called = given[0];
  let rest: readonly string[] = given.slice(1);
  let daemonArguments: readonly string[] = [];
  let emptyCount = args.length - words.length;
  let exitCode = 0;
  const exitWith = (code: number): void => {
    exitCode = code;
  };
  for (const { name, summary, load } of COMMANDS) {
    const command = program.command(name).description(summary);
    if (name !== called) continue;
    const { daemonFlags = [], define } = await load();
    define(command, { ...edges, exitWith, ...configFrom(() => daemonArguments, edges) });
    if (daemonFlags.length > 0)
      command.helpOption("-h, --help", `print this text; with ${ALL}, the flags of tulled too`);
    inheritSettings(command);
    const names = daemonFlags.length === 0 ? [] : DAEMON_SETTINGS;
    const split = splitArguments(rest, names, ownOptions(command, rest));
    rest = split.rest;
    daemonArguments = split.daemon;
    emptyCount += split.emptyCount;
    explainDaemonFlags(command, daemonFlags, args.includes(ALL));
  }
  if (emptyCount > 0) edges.err.line(`tulle: warning: ${EMPTY_ARGUMENT}`);
  await program.parseAsync([...given.slice(0, 1), ...rest], { from: "user" });
  return exitCode;
}

/**
 * `help NAME…` becomes `NAME… --help`, which reaches subcommands too. Of an unknown command only the name stays:
 * commander would answer a request for its help with the help of the program, as if nothing was wrong.
 */
function commandWords(words: readonly string[]): readonly string[] {
  const isHelp = words[0] === "help" && words.length > 1;
  const called = isHelp ? words.slice(1) : words;
  if (isCommand(called[0])) return isHelp ? [...called, "--help"] : called;
  return called[0]?.startsWith("-") ? called : called.slice(0, 1);
}

/** The help lists the flags that matter to a command when it is asked to: they would not fit on a screen. */
function explainDaemonFlags(command: Command, names: readonly FlagName[], inFull: boolean): void {
  if (names.length === 0) return;
  const all = "It takes all flags of tulled, also from its variables and config file.";
  const here = inFull
    ? `${all} It uses:\n${flagListing(names)}`
    : `${all}\n"tulle ${command.name()} --help ${ALL}" lists those that it uses.`;
  addNote(command, here);
}

function addNote(command: Command, note: string): void {
  command.addHelpText("after", `\n${note}`);
  for (const subcommand of command.commands) addNote(subcommand, note);
}

function newProgram({ out, err }: ProgramEdges): Command {
  const width = out.columns || Number.POSITIVE_INFINITY;
  return new Command("tulle")
    .description("Shows, checks and prepares the network that tulled creates between hosts.")
    .version(`tulle ${VERSION}`, "-V, --version", "print the version")
    .helpOption("-h, --help", "print this text")
    .helpCommand("help [command]", "print the help of a command")
    .configureHelp({
      helpWidth: Math.min(HELP_WIDTH, width),
      minWidthToWrap: LEAST_DESCRIPTION_WIDTH,
      showGlobalOptions: false,
      optionDescription,
    })
    .configureOutput({
      writeOut: (text) => out.write(wrapLines(text, width)),
      writeErr: (text) => err.write(text),
      outputError: () => {}, // runProgram writes it, in the form of all other errors
    })
    .exitOverride();
}

/** Without what an option without its value means: that is its default here. */
function optionDescription(option: Option): string {
  return new Help().optionDescription(Object.create(option, { presetArg: { value: undefined } }));
}

/** Reads the configuration once, when a command first asks for it. */
function configFrom(
  args: () => readonly string[],
  { err, environment }: ProgramEdges,
): Pick<CommandContext, "config" | "configBeside"> {
  const load = async (): Promise<AgentConfig> => {
    const { config, warnings } = await loadGiven(parseFlags(args(), []), environment);
    for (const warning of warnings) err.line(`tulle: warning: ${warning}`);
    return config;
  };
  let config: Promise<AgentConfig> | null = null;
  return {
    config: () => {
      config ??= load();
      return config;
    },
    configBeside: async (service) => {
      const given = new Map([...parseFlags(service.args, []), ...parseFlags(args(), [])]);
      return loadGiven(given, { ...service.environment, ...environment });
    },
  };
}

function isCommand(word: string | undefined): boolean {
  return COMMANDS.some(({ name }) => name === word);
}
