/** tulle-cni: the program that a container runtime executes. Wires the dispatcher to the process. */

import { readFileSync, statSync, writeSync } from "node:fs";
import { env, exit } from "node:process";
import { VERBS } from "./commands/verbs.ts";
import { dispatch } from "./protocol/dispatch.ts";

dispatch(VERBS, {
  environment: env,
  readStdin: () => readFileSync(0, "utf8"),
  writeStdout: (text) => writeFully(1, text),
  writeStderr: (text) => writeFully(2, text),
  isOwnNetns,
}).then(exit, (error) => {
  // Not even the answer could be written.
  writeFully(2, `tulle-cni: ${error}\n`);
  exit(1);
});

/** Past Node's streams, whose making costs every call milliseconds. */
function writeFully(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written);
}

/** Namespaces are files of nsfs: the same device and inode mean the same namespace (namespaces(7)). */
function isOwnNetns(path: string): boolean {
  const other = statSync(path, { throwIfNoEntry: false });
  const own = statSync("/proc/self/ns/net");
  return other?.ino === own.ino && other.dev === own.dev;
}
