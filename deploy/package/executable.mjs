/**
 * Makes the executable: all programs in one file, with Bun's runtime and the programs' byte code in it. It needs the C
 * library and nothing else of the host (docs/adr/0023).
 *
 * Two builds give the same bytes: neither the time nor the place of the build is in the file.
 */

import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { BUNDLE, bundlePage, ROOT, writeBundles } from "../bundles.mjs";
import { inTemporaryFolder } from "../cleanup.mjs";
import { etcd3Protocol } from "../esbuild-etcd3.mjs";
import { nodeStreams } from "../esbuild-streams.mjs";
import { makeProgramsReadOnly } from "../read-only-programs.mjs";
import { BUN_PREFIXES, NODE_VARIABLES } from "../runtime-variables.mjs";
import { seal } from "../seal.mjs";
import { runtimeFor } from "./bun-runtime.mjs";
import { runTool } from "./run-tool.mjs";

/** What Bun mounts its embedded files at. */
const EMBEDDED = "/$bunfs/root";

/**
 * Embedded files: what chooses a program, each program, and the thread of tulled that carries packets (the backend udp).
 * A program of its own file starts sooner than one that is part of a larger file.
 */
const ENTRIES = {
  executable: "agent/executable.ts",
  tulle: "agent/tulle.ts",
  tulled: "agent/tulled.ts",
  "tulle-cni": "cni-plugin/main.ts",
  "tulle-netavark": "cni-plugin/netavark/main.ts",
  "tulled-path": "backends/datapath/worker.ts",
};

/**
 * Functions are compiled twenty times later than by default: most of these programs end before that would pay. A hundred times
 * later would cost a start among 5,000 hosts an eighth more.
 */
const BYTE_CODE = ["--bytecode", "--minify", "--compile-jit-policy=20"];
/** Programs load each other's files only when they run. */
const FILES = ["--asset=page", `--external=${EMBEDDED}/*`];
/** No settings from the folder that a program is started in. */
const SETTINGS = ["--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig"];

/** Bun ends without the file, and in a folder that was deleted; in the other one nothing can be written by mistake. */
const NEED = {
  file: "/proc/self/exe",
  folder: "/proc",
  text: "tulle: /proc is not mounted here; mount it: mount -t proc proc /proc\n",
};

/** Calls of each program that change nothing, and how their answers begin. */
const TRIALS = [
  { args: ["version"], env: {}, answer: "tulle " },
  { args: ["tulled", "--version"], env: {}, answer: "tulled " },
  { args: [], env: { CNI_COMMAND: "VERSION" }, answer: '{"cniVersion"' },
  { args: ["tulle-netavark", "info"], env: {}, answer: '{"version"' },
];

/**
 * Writes the executable for a processor, "x64" or "arm64", to `outFile`. Returns the files that went into it and the
 * packages of the runtime, whose licences apply. Throws when npm has no Bun that runs here, or none for `arch`.
 */
export async function buildExecutable({ arch, outFile }) {
  const compiler = runtimeFor(process.arch);
  const runtime = runtimeFor(arch);
  return await inTemporaryFolder("tulle-executable-", async (folder) => {
    const inputs = await bundle(folder);
    const file = path.join(folder, "executable");
    const sources = Object.keys(ENTRIES).map((name) => `${name}.js`);
    const target = [`--target=bun-linux-${arch}`, `--compile-executable-path=${runtime.file}`];
    const options = [...target, ...BYTE_CODE, ...SETTINGS, ...FILES];
    await runTool(compiler.file, ["build", "--compile", ...options, ...sources, "--outfile", file], {
      cwd: folder,
    });
    sealFile(file);
    if (arch === process.arch) tryPrograms(file);
    mkdirSync(path.dirname(outFile), { recursive: true });
    // Of the same file system, so that it appears whole.
    const whole = `${outFile}.${process.pid}`;
    writeFileSync(whole, readFileSync(file));
    chmodSync(whole, 0o755);
    renameSync(whole, outFile);
    return { inputs, packages: [runtime.name] };
  });
}

/** Lets the file that chooses a program load the program's own file. */
const programsApart = {
  name: "programs-apart",
  setup(builder) {
    builder.onResolve({ filter: /./ }, ({ importer, kind, path: specifier }) => {
      if (kind !== "dynamic-import" || importer !== path.join(ROOT, ENTRIES.executable)) return undefined;
      const source = path.relative(ROOT, path.join(path.dirname(importer), specifier));
      const [name] = Object.entries(ENTRIES).find(([, entry]) => entry === source) ?? [];
      if (name === undefined) return { errors: [{ text: `${source} is not a program of the executable` }] };
      return { path: `${EMBEDDED}/${name}.js`, external: true };
    });
  },
};

/** Bundles the entries and the page into `folder`; returns the files that went into them. */
async function bundle(folder) {
  const { metafile } = await writeBundles({
    ...BUNDLE,
    target: "esnext",
    sourcemap: false,
    entryPoints: Object.entries(ENTRIES).map(([out, entry]) => ({ in: entry, out })),
    outdir: folder,
    alias: { koffi: "./backends/netlink/koffi-bun.ts" },
    external: ["bun:ffi"],
    define: {
      // winston's packages load tools for their own developers otherwise.
      "process.env.NODE_ENV": '"production"',
      // Bun would put the place of the build here.
      "import.meta.url": `"file://${EMBEDDED}/program.js"`,
      __filename: `"${EMBEDDED}/program.js"`,
      __dirname: `"${EMBEDDED}"`,
    },
    plugins: [etcd3Protocol(ROOT), nodeStreams, programsApart],
  });
  await bundlePage(path.join(folder, "page"));
  return Object.keys(metafile.inputs);
}

/** Without the variables that Bun obeys, and with programs that cannot be written to. */
function sealFile(file) {
  const elf = readFileSync(file);
  makeProgramsReadOnly(elf);
  seal(elf, [...BUN_PREFIXES, ...NODE_VARIABLES.map((name) => `${name}=`)], NEED);
  writeFileSync(file, elf);
}

/** The first starts prove that every program runs, and obeys none of those variables. */
function tryPrograms(file) {
  for (const { args, env, answer } of TRIALS) {
    const hostile = { ...env, BUN_BE_BUN: "1", BUN_OPTIONS: "--version" };
    const { stdout, stderr } = spawnSync(file, args, { argv0: "tulle", env: hostile, encoding: "utf8" });
    if (!stdout?.startsWith(answer))
      throw new Error(
        `the executable does not answer "${args.join(" ")}", or obeys BUN_BE_BUN: ${stdout}${stderr}`,
      );
  }
}
