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
import { fetchPackage } from "./verify/foreign-packages.mjs";

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const FOLDER = path.join(ROOT, "test/bench");
/** Below the checkout, so that what stays outside the bundle is found in its node_modules. */
const OUT = path.join(ROOT, `.lab/bench-${process.pid}`);

/** As root in a network namespace of its own: servers, daemons and the benchmark meet there and nowhere else. */
const IN_OWN_NETNS = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"];
const isRoot = process.getuid() === 0;

/** What a benchmark compares tulle with, as Debian's suite and package. It cannot be fetched from within that namespace. */
const RIVALS = {
  cni: [
    ["bullseye", "containernetworking-plugins"],
    ["bookworm", "containernetworking-plugins"],
  ],
};

const chosen = process.argv.slice(2).filter((word) => !word.startsWith("-"));
for (const [name, packages] of Object.entries(RIVALS)) {
  if (chosen.length === 0 || chosen.includes(name))
    for (const [suite, title] of packages) fetchRival(suite, title);
}

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
  const program = [process.execPath, "--expose-gc", path.join(OUT, "main.mjs"), ...process.argv.slice(2)];
  const [command, ...args] = isRoot ? [...IN_OWN_NETNS, ...program] : program;
  const { status } = spawnSync(command, args, { cwd: ROOT, stdio: "inherit" });
  process.exitCode = status ?? 1;
} finally {
  rmSync(OUT, { recursive: true, force: true });
}

/** The benchmark says what is missing. */
function fetchRival(suite, title) {
  try {
    fetchPackage(suite, title);
  } catch (error) {
    console.error(String(error));
  }
}
