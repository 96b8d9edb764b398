/** Entry of the command line: passes the process's environment and streams to the program, exits with its code. */

import { runProgram } from "./commands/program.ts";
import { openTerminal } from "./terminal/terminal.ts";

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.once(signal, () => interrupted.abort(new Error(`stopped by ${signal}`)));
}

// A reader that closes the pipe early, such as head(1), is not a failure: the command does all its work. On a full disk the
// command is interrupted as by a signal, and so removes what it must not leave.
for (const stream of [process.stdout, process.stderr]) stream.on("error", onOutputError);

function onOutputError(error: NodeJS.ErrnoException): void {
  if (error.code === "EPIPE" || interrupted.signal.aborted) return;
  process.exitCode = 1;
  interrupted.abort(error);
  process.stderr.write(`tulle: the output cannot be written: ${error.message}\n`);
}

runProgram(process.argv.slice(2), {
  environment: process.env,
  out: openTerminal(process.stdout, process.env),
  err: openTerminal(process.stderr, process.env),
  signal: interrupted.signal,
  random: Math.random,
  dateMs: Date.now,
}).then((code) => {
  // Not process.exit(): it would drop what a pipe has not taken yet.
  process.exitCode ??= code;
});
