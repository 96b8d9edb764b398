/** `tulle version`: the same line as `tulle --version`. */

import { VERSION } from "../report/version.ts";
import type { CommandModule } from "../terminal/command.ts";

export const version: CommandModule = {
  define(command, { out }) {
    command.action(() => out.write(`tulle ${VERSION}\n`));
  },
};
