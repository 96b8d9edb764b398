/**
 * `npm run bench`: bundles test/bench and runs it against the programs in dist/. Every file directly in test/bench
 * but main.ts is a benchmark of its name.
 */

import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const FOLDER = path.join(ROOT, "test/bench");
/** Below the checkout, so that what stays outside the bundle is found in its node_modules. */
const OUT = path.join(ROOT, `.lab/bench-${process.pid}`);

const names = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".ts") && file !== "main.ts")
  .map((file) => file.slice(0, -3));
const loaders = names.map((name) => `${JSON.stringify(name)}: () => import("./${name}.ts")`);
mkdirSync(OUT, { recursive: true });
try {
  await build({
    absWorkingDir: ROOT,
    stdin: {
      contents: `import { main } from "./main.ts"; await main({ ${loaders.join(", ")} });`,
      resolveDir: FOLDER,
      loader: "ts",
    },
    outdir: OUT,
    entryNames: "main",
    outExtension: { ".js": ".mjs" },
    bundle: true,
    splitting: true,
    packages: "external",
    platform: "node",
    target: "node20.19",
    format: "esm",
    logLevel: "warning",
  });
  const program = path.join(OUT, "main.mjs");
  const { status } = spawnSync(process.execPath, ["--expose-gc", program, ...process.argv.slice(2)], {
    cwd: ROOT,
    stdio: "inherit",
  });
  process.exitCode = status ?? 1;
} finally {
  rmSync(OUT, { recursive: true, force: true });
}
