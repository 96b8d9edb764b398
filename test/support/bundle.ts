/** Programs of tests that need a process of their own, bundled so that every version of Node runs them. */

import { rmSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { build } from "esbuild";

export interface Bundle {
  /** The program, for `node`. */
  readonly path: string;
  dispose(): void;
}

/** Bundles a TypeScript file of `sources`, by default of this folder: a benchmark is itself bundled to another place. */
export async function bundle(name: string, sources = import.meta.dirname): Promise<Bundle> {
  const folder = join(sources, "../../node_modules/.cache");
  const path = join(folder, `tulle-${process.pid}-${basename(name, ".ts")}.mjs`);
  await build({
    entryPoints: [join(sources, name)],
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    outfile: path,
  });
  return { path, dispose: () => rmSync(path, { force: true }) };
}
