/** Programs of tests that need a process of their own, bundled so that every version of Node, or Bun, runs them. */

import { rmSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { build } from "esbuild";

export interface Bundle {
  /** The program, for `node` or `bun`. */
  readonly path: string;
  dispose(): void;
}

const OPTIONS: Readonly<Record<"node" | "bun", object>> = {
  node: { target: "node20", packages: "external" },
  /** As deploy/package/executable.mjs does it. */
  bun: {
    target: "esnext",
    alias: { koffi: "./backends/netlink/koffi-bun.ts" },
    external: ["bun:ffi"],
  },
};

/** The runtime of the suite. */
const OWN_RUNTIME = process.versions.bun === undefined ? "node" : "bun";

/** Bundles a TypeScript file of `sources`, by default of this folder: a benchmark is itself bundled to another place. */
export async function bundle(
  name: string,
  sources = import.meta.dirname,
  runtime: keyof typeof OPTIONS = OWN_RUNTIME,
): Promise<Bundle> {
  const root = join(sources, "../..");
  const path = join(
    root,
    "node_modules/.cache",
    `tulle-${process.pid}-${basename(name, ".ts")}-${runtime}.mjs`,
  );
  await build({
    absWorkingDir: root,
    entryPoints: [join(sources, name)],
    bundle: true,
    platform: "node",
    format: "esm",
    outfile: path,
    ...OPTIONS[runtime],
  });
  return { path, dispose: () => rmSync(path, { force: true }) };
}
