/** tulle-cni: the program that a container runtime executes. Wires the dispatcher to the process. */

import { existsSync, readFileSync } from "node:fs";
import process from "node:process";
import { NetnsHandle } from "../backends/netlink/netns.ts";
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

function isOwnNetns(path: string): boolean {
  if (!existsSync(path)) return false;
  const [other, own] = [NetnsHandle.open(path), NetnsHandle.own()];
  other.close();
  own.close();
  return other.identity === own.identity;
}
