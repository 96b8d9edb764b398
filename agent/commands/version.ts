/** `tulle version`: the same line as `tulle --version`. */

import { VERSION } from "../version.ts";
import type { CommandModule } from "./command.ts";

export const version: CommandModule = {
  define(command, { out }) {
    command.action(() => out.write(`tulle ${VERSION}\n`));
  },
};
