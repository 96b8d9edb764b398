/**
 * Entry of the one executable, which holds all programs: starts the one that it is called as, by the name of the file
 * or of a link to it, or by the first word (`tulle tulled --etcd-endpoints=…`). Loads nothing of the others.
 */

import { chooseProgram, type ProgramName, UnknownNameError } from "./host/program-choice.ts";

const LOAD: Readonly<Record<ProgramName, () => Promise<unknown>>> = {
  tulle: () => import("./tulle.ts"),
  tulled: () => import("./tulled.ts"),
  "tulle-cni": () => import("../cni-plugin/main.ts"),
  "tulle-netavark": () => import("../cni-plugin/netavark/main.ts"),
};

try {
  const { program, isFirstWord } = chooseProgram(process.argv0, process.argv.slice(2), process.env);
  // The programs read their words themselves.
  if (isFirstWord) process.argv.splice(2, 1);
  LOAD[program]();
} catch (error) {
  if (!(error instanceof UnknownNameError)) throw error;
  process.stderr.write(`tulle: ${error.message}\n`);
  process.exitCode = 2;
}
