/** tulle-cni: the program that a container runtime executes. Wires the dispatcher to the process. */

import { readFileSync, statSync } from "node:fs";
import process from "node:process";
import { dispatch } from "./dispatch.ts";
import { VERBS } from "./verbs.ts";

dispatch(VERBS, {
  environment: process.env,
  readStdin: () => readFileSync(0, "utf8"),
  writeStdout: (text) => process.stdout.write(text),
  writeStderr: (text) => process.stderr.write(text),
  isOwnNetns,
}).then((exitCode) => {
  process.exitCode = exitCode;
});

/** Namespaces are files of nsfs: the same device and inode mean the same namespace (namespaces(7)). */
function isOwnNetns(path: string): boolean {
  const other = statSync(path, { throwIfNoEntry: false });
  const own = statSync("/proc/self/ns/net");
  return other?.ino === own.ino && other.dev === own.dev;
}
