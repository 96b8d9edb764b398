/**
 * What a command of `tulle` is, and what it is given to work with. Types only.
 *
 * A command writes its answer to `out` and nothing else to it; it throws TulleError for what a person must put
 * right, and the program turns that into one line on standard error.
 */

import type { Command } from "commander";
import type { AgentConfig } from "../config/config.ts";
import type { FlagName } from "../config/flags.ts";
import type { Environment } from "../config/settings.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** A file of this folder: one command, loaded only when it is called. */
export interface CommandModule {
  /**
   * Flags of tulled that the command uses; its help lists them. A command that names one takes all of them, with
   * the same spellings, variables and config file, so that it can be given what tulled is given.
   */
  readonly daemonFlags?: readonly FlagName[];
  /** Adds options, subcommands and actions to the command that the program made. */
  define(command: Command, context: CommandContext): void;
}

/** The edges of the process, as a command may use them. */
export interface CommandContext {
  readonly environment: Environment;
  readonly out: Terminal;
  readonly err: Terminal;
  /** Fires when the person at the terminal interrupts. */
  readonly signal: AbortSignal;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Milliseconds of the date. */
  readonly dateMs: () => number;
  /**
   * The configuration that tulled would run with if it were given the same flags, variables and file.
   * Throws ConfigError.
   */
  config(): Promise<AgentConfig>;
  /** What the program exits with once the command is done; 0 unless said otherwise. */
  exitWith(code: number): void;
}
