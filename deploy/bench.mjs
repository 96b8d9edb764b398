/**
 * `npm run bench`: bundles test/bench and runs it against the programs in dist/. Every file directly in test/bench
 * but main.ts is a benchmark of its name.
 */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { readArguments, usage } from "./bench-arguments.mjs";
import { writeBundles } from "./bundles.mjs";
import { SIGNALS, withCleanup } from "./cleanup.mjs";
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

const names = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".ts") && file !== "main.ts")
  .map((file) => file.slice(0, -3));
const chosen = readOrNull();
if (chosen?.isHelp) console.log(usage(names).trimEnd());
else if (chosen !== null) await measure(chosen);

/** Null, with a line for the person, when the arguments are wrong. */
function readOrNull() {
  try {
    return readArguments(process.argv.slice(2), names);
  } catch (error) {
    console.error(`bench: ${error.message.split("\n")[0]}`);
    process.exitCode = 2;
    return null;
  }
}

async function measure(options) {
  for (const [name, packages] of Object.entries(RIVALS)) {
    if (options.names.length > 0 && !options.names.includes(name)) continue;
    for (const [suite, title] of packages) fetchRival(suite, title);
  }
  mkdirSync(OUT, { recursive: true });
  const remove = () => rmSync(OUT, { recursive: true, force: true });
  await withCleanup(remove, async () => {
    await bundle();
    await run(JSON.stringify(options));
  });
}

async function run(argument) {
  const program = [process.execPath, "--expose-gc", path.join(OUT, "main.mjs"), argument];
  const [command, ...args] = isRoot ? [...IN_OWN_NETNS, ...program] : program;
  const child = spawn(command, args, { cwd: ROOT, stdio: "inherit" });
  // The benchmark cleans up, then this program.
  for (const signal of Object.keys(SIGNALS)) process.on(signal, () => child.kill(signal));
  const [status] = await once(child, "close");
  process.exitCode = status ?? 1;
}

async function bundle() {
  const loaders = names.map((name) => `${JSON.stringify(name)}: () => import("./${name}.ts")`);
  await writeBundles({
    absWorkingDir: ROOT,
    stdin: {
      contents: `import { main } from "./main.ts"; await main({ ${loaders.join(", ")} }, JSON.parse(process.argv[2]));`,
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
}

/** The benchmark says what is missing. */
function fetchRival(suite, title) {
  try {
    fetchPackage(suite, title);
  } catch (error) {
    console.error(String(error));
  }
}
