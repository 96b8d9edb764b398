/** tulle-cni: the program that a container runtime executes. Wires the dispatcher to the process. */

import { env, exit } from "node:process";
import { VERBS } from "./commands/verbs.ts";
import { isOwnNetns, readStdin, tell, writeFully } from "./host/process.ts";
import { dispatch } from "./protocol/dispatch.ts";

dispatch(VERBS, {
  environment: env,
  readStdin,
  writeStdout: (text) => writeFully(1, text),
  writeStderr: tell,
  isOwnNetns,
}).then(exit, (error) => {
  // Not even the answer could be written.
  tell(`tulle-cni: ${error}\n`);
  exit(1);
});
