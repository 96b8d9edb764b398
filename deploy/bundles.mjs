/** What the builds of dist/ and of the executable share: how sources become bundles. */

import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

export const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** esbuild's options for programs. */
export const BUNDLE = {
  absWorkingDir: ROOT,
  bundle: true,
  platform: "node",
  target: "node20.19",
  format: "cjs",
  // Node would give import() of a bundled package a default export only; require() gives what the source names.
  supported: { "dynamic-import": false },
  sourcemap: true,
  sourcesContent: false,
  metafile: true,
  logLevel: "warning",
};

/**
 * What esbuild's build() does with these options. This program writes the files: esbuild's process, which ends a moment
 * after it, could write into a folder that a signal has removed (cleanup.mjs).
 */
export async function writeBundles(options) {
  const result = await build({ ...options, write: false });
  for (const { path: file, contents } of result.outputFiles) {
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, contents);
  }
  return result;
}

/** What a browser loads: no part of any program. */
const PAGE = { source: "agent/page", script: "main.ts", files: ["index.html", "page.css", "icon.svg"] };

/** Makes one script of the page's code, which imports no package, and puts the other files beside it. */
export async function bundlePage(target) {
  await writeBundles({
    absWorkingDir: ROOT,
    bundle: true,
    minify: true,
    platform: "browser",
    target: ["chrome109", "firefox115", "safari16.4"],
    format: "iife",
    logLevel: "warning",
    entryPoints: [`${PAGE.source}/${PAGE.script}`],
    outfile: path.join(target, "page.js"),
  });
  for (const name of PAGE.files) cpSync(path.join(ROOT, PAGE.source, name), path.join(target, name));
}
