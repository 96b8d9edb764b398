/**
 * The contract of a command of `tulle`, and its context. Types only.
 *
 * A command writes only its answer to `out`. It throws TulleError for what a person must repair; the program writes
 * that as one line to standard error.
 */

import type { Command } from "commander";
import type { AgentConfig, LoadedConfig } from "../config/config.ts";
import type { FlagName } from "../config/flags.ts";
import type { Environment } from "../config/settings.ts";
import type { Terminal } from "./terminal.ts";

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

/** Flags and variables of a daemon. */
export interface GivenSettings {
  readonly args: readonly string[];
  readonly environment: Environment;
}

/** What a command may use of the process. */
export interface CommandContext {
  readonly environment: Environment;
  readonly out: Terminal;
  readonly err: Terminal;
  /** Fires when the user interrupts. */
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
  /** The same with its sources, where what the service is given counts as far as this command is not given other. */
  configBeside(service: GivenSettings): Promise<LoadedConfig>;
  /** Sets the exit code of the program; default 0. */
  exitWith(code: number): void;
}
