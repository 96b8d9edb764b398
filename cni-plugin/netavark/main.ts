/** tulle-netavark: the program that podman and netavark execute. Wires the dispatcher to the process. */

import { argv, exit } from "node:process";
import { isOwnNetns, readStdin, tell, writeFully } from "../host/process.ts";
import { dispatch } from "./dispatch.ts";

dispatch({
  arguments: argv.slice(2),
  readStdin,
  writeStdout: (text) => writeFully(1, text),
  warn: (text) => tell(`tulle-netavark: ${text}\n`),
  isOwnNetns,
}).then(exit, (error) => {
  // Not even the answer could be written.
  tell(`tulle-netavark: ${error}\n`);
  exit(1);
});
