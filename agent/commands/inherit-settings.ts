import type { Command } from "commander";

/** A subcommand that was made apart writes and fails like all others. */
export function inheritSettings(command: Command): void {
  for (const subcommand of command.commands) {
    subcommand.copyInheritedSettings(command);
    inheritSettings(subcommand);
  }
}
