/** Entry of the command line: passes the process's environment and streams to the program, exits with its code. */

import { runProgram } from "./commands/program.ts";
import { openTerminal } from "./terminal/terminal.ts";

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => interrupted.abort(new Error(`stopped by ${signal}`)));
}

// A reader that closes the pipe early, such as head(1), is not a failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

runProgram(process.argv.slice(2), {
  environment: process.env,
  out: openTerminal(process.stdout, process.env),
  err: openTerminal(process.stderr, process.env),
  signal: interrupted.signal,
  random: Math.random,
  dateMs: Date.now,
}).then((code) => {
  // Not process.exit(): it would drop what a pipe has not taken yet.
  process.exitCode = code;
});
