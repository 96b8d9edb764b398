/**
 * Builds dist/: the four programs, ready to run without node_modules.
 *
 *     dist/bin/<program>                  the executable and links to it where npm has Bun (docs/adr/0023), else links
 *                                         to the launchers
 *     dist/node/<program>                 launchers: check the version of Node, then load the bundle
 *     dist/lib/<program>.cjs              our own code, one file per program
 *     dist/lib/load.cjs                   loads them, with a code cache where there is one (deploy/code-cache.mjs)
 *     dist/lib/tulled-path.cjs            the thread of tulled that carries packets (the backend udp)
 *     dist/lib/page/                      the page that tulled serves: HTML, CSS and one script
 *     dist/lib/vendor/<module>.cjs        one file per module of an npm package, loaded only when it is first needed
 *     dist/lib/node_modules/koffi         the foreign function interface with its native module
 *     dist/share                          manual pages, and completions for bash, zsh and fish
 *     dist/LICENSES.txt                   the licences of everything that was bundled
 *
 * CommonJS because it starts several milliseconds faster than ES modules do on Node 20, and a program that a
 * container runtime executes for every container is mostly start-up. Plain JavaScript, so that it runs before
 * anything is built. It must not know what the programs do.
 */

import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { BUNDLE, bundlePage, ROOT, writeBundles } from "./bundles.mjs";
import { exitOnSignals, withCleanup } from "./cleanup.mjs";
import { writeCodeCache } from "./code-cache.mjs";
import { etcd3Protocol } from "./esbuild-etcd3.mjs";
import { nodeStreams } from "./esbuild-streams.mjs";
import { launcherText } from "./launcher.mjs";
import { collectLicences } from "./licences.mjs";
import { writeManual } from "./manual/manual.mjs";
import { hasCompiler } from "./package/bun-runtime.mjs";
import { buildExecutable } from "./package/executable.mjs";

/** Built aside and moved into place at the end, so that programs that run from dist/ meanwhile find their files. */
const DIST = path.join(ROOT, `.dist-${process.pid}`);
const LIB = path.join(DIST, "lib");

const PROGRAMS = {
  tulled: "agent/tulled.ts",
  tulle: "agent/tulle.ts",
  "tulle-cni": "cni-plugin/main.ts",
  "tulle-netavark": "cni-plugin/netavark/main.ts",
};

/** Threads of programs: bundles without a launcher. */
const THREADS = {
  "tulled-path": "backends/datapath/worker.ts",
};

/** Packages with a native part stay packages: they are copied, not bundled. */
const NATIVE = ["koffi"];

/** The name of the executable; the other programs' names are links to it. */
const EXECUTABLE = "tulle";

const manifest = JSON.parse(readFileSync(path.join(ROOT, "package.json"), "utf8"));
const packages = Object.keys(manifest.dependencies);

exitOnSignals();
await withCleanup(() => rmSync(DIST, { recursive: true, force: true }), main);

async function main() {
  const present = Object.entries(PROGRAMS).filter(([, entry]) => existsSync(path.join(ROOT, entry)));
  for (const folder of ["bin", "node"]) mkdirSync(path.join(DIST, folder), { recursive: true });
  writeFileSync(path.join(DIST, "package.json"), '{ "type": "commonjs" }\n');

  const used = new Set();
  const programs = await bundlePrograms(present, used);
  const vendors = await bundleVendors(used);
  await bundlePage(path.join(LIB, "page"));
  for (const name of NATIVE.filter((native) => used.has(native))) copyNative(name);
  cpSync(path.join(ROOT, "deploy/node-loader.cjs"), path.join(LIB, "load.cjs"));
  for (const [name] of present) writeLauncher(name);
  const isComplete = present.length === Object.keys(PROGRAMS).length;
  const compiled = isComplete && hasCompiler() ? await compile() : null;
  for (const [name] of present) linkProgram(name, compiled !== null);
  if (compiled === null) await makeCodeCache();
  const inputs = [programs, ...vendors].flatMap((bundles) => Object.keys(bundles.inputs));
  const licences = collectLicences(
    ROOT,
    [...inputs, ...(compiled?.inputs ?? [])],
    [...new Set([...used].map(packageOf)), ...(compiled?.packages ?? [])],
  );
  writeFileSync(path.join(DIST, "LICENSES.txt"), licences);
  if (present.some(([name]) => name === "tulle")) await writeManual(ROOT, path.join(DIST, "share"));
  moveIntoPlace();
  const form = compiled === null ? "on Node" : "compiled";
  for (const [name, entry] of present) console.log(`dist/bin/${name}  from ${entry}, ${form}`);
  reportMissing();
}

function compile() {
  return buildExecutable({ arch: process.arch, outFile: path.join(DIST, "bin", EXECUTABLE) });
}

/** Gives a program its place in dist/bin. */
function linkProgram(name, isCompiled) {
  if (isCompiled && name === EXECUTABLE) return;
  symlinkSync(isCompiled ? EXECUTABLE : `../node/${name}`, path.join(DIST, "bin", name));
}

/** For this Node. A machine on which the demo does not run gets none. */
async function makeCodeCache() {
  try {
    await writeCodeCache(DIST);
  } catch (error) {
    console.log(error.message);
  }
}

function moveIntoPlace() {
  const place = path.join(ROOT, "dist");
  const former = `${DIST}-former`;
  if (existsSync(place)) renameSync(place, former);
  renameSync(DIST, place);
  rmSync(former, { recursive: true, force: true });
}

/** A checkout without one of the programs gives the others, and a failure that names what is missing. */
function reportMissing() {
  for (const [name, entry] of Object.entries(PROGRAMS)) {
    if (existsSync(path.join(ROOT, entry))) continue;
    console.error(`dist/bin/${name}  is not built: ${entry} is missing from this checkout`);
    process.exitCode = 1;
  }
}

/** Bundles our own code; adds to `used` each module of an npm package that it imports. */
async function bundlePrograms(present, used) {
  const result = await writeBundles({
    ...BUNDLE,
    entryPoints: [...present, ...Object.entries(THREADS)].map(([out, entry]) => ({ in: entry, out })),
    outdir: LIB,
    outExtension: { ".js": ".cjs" },
    define: { "import.meta.url": "importMetaUrl" },
    banner: { js: 'const importMetaUrl = require("node:url").pathToFileURL(__filename).href;' },
    plugins: [packagesAsVendors(used)],
  });
  return result.metafile;
}

/**
 * Resolves an import of a package to a bundle of its own beside ours, for our code and for other packages alike:
 * what two of them share is one instance. `self` is the module that is being bundled.
 */
function packagesAsVendors(used, self) {
  return {
    name: "packages-as-vendors",
    setup(builder) {
      builder.onResolve({ filter: /^[^./]/ }, ({ path: specifier }) => {
        if (specifier === self || !packages.includes(packageOf(specifier))) return undefined;
        used.add(specifier);
        return { path: NATIVE.includes(specifier) ? specifier : vendorPath(specifier, self), external: true };
      });
    },
  };
}

/** `@scope/name` or `name`, of a specifier that may go on with a path inside the package. */
function packageOf(specifier) {
  return specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
}

/** From the bundle of `self`, or of our own programs, to that of `specifier`. */
function vendorPath(specifier, self) {
  const folder = path.dirname(self === undefined ? "program" : vendorFile(self));
  return `./${path.relative(folder, vendorFile(specifier))}`;
}

function vendorFile(specifier) {
  return `vendor/${specifier.replace(/\.c?js$/, "")}.cjs`;
}

/** Makes one CommonJS file of each module, and of those that they need in turn. */
async function bundleVendors(used) {
  const metafiles = [];
  // The set grows while it is walked: a package may import another one of ours.
  for (const specifier of used) {
    if (NATIVE.includes(specifier)) continue;
    const { metafile } = await writeBundles({
      ...BUNDLE,
      sourcemap: false,
      // winston's packages load tools for their own developers otherwise.
      define: { "process.env.NODE_ENV": '"production"' },
      stdin: { contents: `module.exports = require("${specifier}");`, resolveDir: ROOT },
      outfile: path.join(LIB, vendorFile(specifier)),
      plugins: [etcd3Protocol(ROOT), nodeStreams, packagesAsVendors(used, specifier)],
    });
    metafiles.push(metafile);
  }
  return metafiles;
}

/** Copies a package with a native module, and the package that holds the module for this machine. */
function copyNative(name) {
  const target = path.join(LIB, "node_modules");
  const resolve = createRequire(path.join(ROOT, "package.json")).resolve;
  const source = path.dirname(resolve(name));
  for (const file of [
    "package.json",
    "index.cjs",
    "LICENSE.txt",
    "src/koffi/index.cjs",
    "src/koffi/src/static.cjs",
  ]) {
    cpSync(path.join(source, file), path.join(target, name, file));
  }
  const native = `@koromix/koffi-${process.platform}-${process.arch}`;
  cpSync(path.join(ROOT, "node_modules", native), path.join(target, native), { recursive: true });
}

function writeLauncher(name) {
  const file = path.join(DIST, "node", name);
  writeFileSync(file, launcherText(name, manifest.engines.node));
  chmodSync(file, 0o755);
}
