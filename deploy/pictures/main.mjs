/**
 * `npm run pictures [-- demo|page]`: makes the pictures of docs/pictures again, from the programs in dist/.
 *
 *     demo     the demo on a terminal, as SVG that plays once
 *     page     the page of a network of hosts, one path of which is broken, light and dark; needs root, etcd and Chromium
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { record } from "./recording.mjs";
import { looksOf } from "./screen.mjs";
import { terminalSvg } from "./terminal-svg.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const FOLDER = path.join(ROOT, "docs/pictures");
const PICTURES = { demo: drawDemo, page: drawPage };
/** What fits the demo's widest line. */
const COLUMNS = 80;
/** Time to read the command before the demo runs. */
const START_MS = 800;

const wanted = process.argv.slice(2);
const unknown = wanted.find((name) => PICTURES[name] === undefined);
if (unknown !== undefined)
  fail(`picture "${unknown}" is unknown; take one of ${Object.keys(PICTURES).join(", ")}`);
else if (!existsSync(path.join(ROOT, "dist/bin/tulle"))) fail("dist/ is missing: run npm run build");
else for (const name of wanted.length > 0 ? wanted : Object.keys(PICTURES)) await PICTURES[name]();

function fail(message) {
  console.error(`pictures: ${message}`);
  process.exitCode = 1;
}

async function drawDemo() {
  const chunks = await record("dist/bin/tulle demo", { columns: COLUMNS, cwd: ROOT });
  const svg = terminalSvg(looksOf(chunks), {
    columns: COLUMNS,
    command: "npm run demo",
    title: "npm run demo",
    label:
      "A terminal: the demo makes three hosts and a network, starts tulled on each, pings from every container to every other, and deletes a tunnel device, which comes back",
    startMs: START_MS,
  });
  writeFileSync(path.join(FOLDER, "demo.svg"), svg);
  console.log("docs/pictures/demo.svg");
}

/** page.ts uses the tests' hosts, in TypeScript. */
async function drawPage() {
  const out = path.join(ROOT, `.lab/pictures-${process.pid}`);
  mkdirSync(out, { recursive: true });
  try {
    const program = path.join(out, "page.mjs");
    await build({
      absWorkingDir: ROOT,
      entryPoints: ["deploy/pictures/page.ts"],
      outfile: program,
      bundle: true,
      packages: "external",
      platform: "node",
      target: "node20.19",
      format: "esm",
      logLevel: "warning",
    });
    const { status } = spawnSync(process.execPath, [program, FOLDER], { cwd: ROOT, stdio: "inherit" });
    process.exitCode = status ?? 1;
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}
