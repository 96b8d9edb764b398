/** The option of commands that read the settings of the service. */

import type { Command } from "commander";

/** `file`: the unit's EnvironmentFile=. */
export function withServiceFile(command: Command): Command {
  return command.option("--service-file <file>", "settings of tulled.service", "/etc/default/tulled");
}
