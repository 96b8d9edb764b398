/** The runtimes that the programs have: Node, and Bun in the executable. */

import process from "node:process";
import { describe } from "vitest";
import { hasCompiler, runtimeFor } from "../../deploy/package/bun-runtime.mjs";

export interface Runtime {
  readonly kind: "node" | "bun";
  /** The file that runs a program. */
  readonly file: string;
}

/** `body` once for each runtime, but not for Node in a suite that runs on Bun; skipped, visibly, for Bun where npm has not installed it, unless CI is set. */
export function describeOnRuntimes(name: string, body: (runtime: Runtime) => void): void {
  if (process.versions.bun === undefined)
    describe(`${name} on Node ${process.versions.node}`, () =>
      body({ kind: "node", file: process.execPath }));
  if (hasCompiler()) {
    describe(`${name} on Bun`, () => body({ kind: "bun", file: runtimeFor(process.arch).file }));
  } else if (process.env.CI) throw new Error(`"${name}" needs Bun: run npm ci without --omit=optional`);
  else describe.skip(`${name} on Bun (npm has not installed it)`, () => {});
}
