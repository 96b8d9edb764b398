/**
 * Every command of `tulle`, in the order of its help. A new command is one file in this folder and one line here.
 *
 * Nothing but names and summaries is loaded from here: a command's own code waits until it is called.
 */

import type { CommandModule } from "./command.ts";

export interface CommandEntry {
  readonly name: string;
  /** One line without a full stop, for the list of commands. */
  readonly summary: string;
  readonly load: () => Promise<CommandModule>;
}

export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "status",
    summary: "how the daemon on this host is doing",
    load: async () => (await import("./status.ts")).status,
  },
  {
    name: "version",
    summary: "print the version",
    load: async () => (await import("./version.ts")).version,
  },
];
