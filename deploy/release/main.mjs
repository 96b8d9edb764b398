/**
 * `npm run release -- X.Y.Z`: cuts a release from a clean checkout, up to what is published, without a network.
 *
 *     node deploy/release/main.mjs X.Y.Z [--dry-run] [--without-packages]
 *
 * It checks everything first. Then it writes the version and the changelog's date, commits, builds, packages, writes
 * checksums and tags. The commit comes before the packages, so that the same commit gives the same packages again. A
 * second commit records which commit the release is. When a step fails, commits, tag and files are as they were before.
 */

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, rmSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { SIGNALS } from "../cleanup.mjs";
import { dateChangelog, notesOf } from "./changelog.mjs";
import { Checkout } from "./checkout.mjs";
import { completeChecksums } from "./checksums.mjs";
import { RECORD_FILES, ReleaseFiles, VERSION_FILES } from "./files.mjs";
import { ReleaseError } from "./release-error.mjs";
import { greatest, isGreater, isVersion } from "./version.mjs";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** Where `npm run package` writes. */
const OUTPUT = "release";
const BRANCH = "main";
const USAGE = "npm run release -- X.Y.Z [--dry-run] [--without-packages]";

const files = new ReleaseFiles(ROOT);

try {
  await main();
} catch (error) {
  if (!(error instanceof ReleaseError)) throw error;
  console.error(`release: ${error.message}`);
  process.exitCode = 1;
}

async function main() {
  const { version, isDryRun, hasPackages } = readArguments();
  const checkout = new Checkout(ROOT);
  const date = new Date().toISOString().slice(0, 10);
  const plan = { version, date, tag: `v${version}`, hasPackages };
  requireReady(checkout, plan);
  if (isDryRun) console.log(`version ${version} can be released; nothing was changed`);
  else await cut(checkout, plan);
}

function readArguments() {
  const options = { "dry-run": { type: "boolean" }, "without-packages": { type: "boolean" } };
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    if (positionals.length !== 1) throw new Error(`one version is needed, not ${positionals.length}`);
    const [version] = positionals;
    if (!isVersion(version)) throw new Error(`version "${version}" is not of the form X.Y.Z, such as 0.2.0`);
    return { version, isDryRun: values["dry-run"] ?? false, hasPackages: !values["without-packages"] };
  } catch (error) {
    throw new ReleaseError(`${error.message}; usage: ${USAGE}`);
  }
}

/** Throws ReleaseError for the first thing that is not as it must be. Changes nothing. */
function requireReady(checkout, { version, date, tag, hasPackages }) {
  checkout.requireReady(BRANCH);
  const commit = checkout.commitOfTag(tag);
  if (commit !== null)
    throw new ReleaseError(
      `tag ${tag} exists, at ${commit.slice(0, 12)}: choose another version, or run "git tag --delete ${tag}" if it was never published`,
    );
  const tagged = checkout.versionTags().map((name) => name.slice(1));
  const last = greatest([files.version, ...files.releases, ...tagged].filter(isVersion));
  if (!isGreater(version, last))
    throw new ReleaseError(
      `version ${version} is not greater than ${last}, the last one: choose a greater one`,
    );
  dateChangelog(files.changelog, version, date);
  if (hasPackages && !files.scripts.includes("package"))
    throw new ReleaseError('package.json has no script "package": add it, or pass --without-packages');
  if (!existsSync(path.join(ROOT, "node_modules/esbuild")))
    throw new ReleaseError("node_modules is missing or incomplete: run npm ci");
}

async function cut(checkout, plan) {
  const { version, date, tag, hasPackages } = plan;
  const head = checkout.head;
  // A signal ends the step that runs; this process stays to restore the checkout.
  const stop = new AbortController();
  for (const signal of Object.keys(SIGNALS)) process.on(signal, () => stop.abort());
  try {
    files.setVersion(version, date);
    checkout.commit(`release: cut version ${version}`, VERSION_FILES);
    const release = checkout.head;
    await run(stop.signal, "npm", "run", "--silent", "build");
    requireBuilt(version);
    const published = hasPackages ? await packageAll(stop.signal) : [];
    requireUnchanged(checkout);
    if (stop.signal.aborted) throw new ReleaseError("interrupted");
    checkout.tag(tag, `tulle ${version}\n\n${notesOf(files.changelog, version)}\n`);
    files.recordRelease(version, date, release);
    checkout.commit(`release: record the commit of version ${version}`, RECORD_FILES);
    report(checkout, plan, release, published);
  } catch (error) {
    checkout.restore(head, tag, [...VERSION_FILES, ...RECORD_FILES]);
    if (!(error instanceof ReleaseError)) throw error;
    throw new ReleaseError(`${error.message}\nThe checkout is as it was; dist/ and ${OUTPUT}/ may be new.`);
  }
}

/** Former packages go first, so that checksums name those of this release only. */
async function packageAll(stop) {
  rmSync(path.join(ROOT, OUTPUT), { recursive: true, force: true });
  await run(stop, "npm", "run", "--silent", "package", "--", "--arch", "all");
  if (!existsSync(path.join(ROOT, OUTPUT)))
    throw new ReleaseError(`npm run package wrote nothing to ${OUTPUT}/`);
  return await completeChecksums(path.join(ROOT, OUTPUT));
}

/** A build that is absent or does not start calls itself nothing. */
function requireBuilt(version) {
  const { stdout } = spawnSync("dist/bin/tulled", ["--version"], { cwd: ROOT, encoding: "utf8" });
  const name = stdout?.trim() ?? "";
  if (name !== `tulled ${version}`)
    throw new ReleaseError(`the build calls itself "${name}", not "tulled ${version}"`);
}

function requireUnchanged(checkout) {
  const changes = checkout.changes();
  if (changes.length > 0)
    throw new ReleaseError(`a step changed files that are not ignored:\n  ${changes.join("\n  ")}`);
}

/** Shows what the command prints, and waits for its end, also after `stop`. */
async function run(stop, ...words) {
  const title = words.join(" ");
  console.log(`> ${title}`);
  const [command, ...args] = words;
  const child = spawn(command, args, { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] });
  const end = () => child.kill();
  stop.addEventListener("abort", end);
  const [status, signal] = await once(child, "close").catch((error) => {
    throw new ReleaseError(`${title} failed: ${error.message}`);
  });
  stop.removeEventListener("abort", end);
  if (status !== 0) throw new ReleaseError(`${title} failed: ${signal ?? `exit code ${status}`}`);
}

function report(checkout, { version, tag }, release, published) {
  const list = published.map((name) => `  ${OUTPUT}/${name}\n`).join("");
  const push = `git push --atomic ${checkout.remote ?? "REMOTE"} ${BRANCH} ${tag}`;
  const publish = list === "" ? "" : `  publish the files of ${OUTPUT}/ with the tag's text as notes\n`;
  console.log(
    `version ${version} is cut: commit ${release.slice(0, 12)}, tag ${tag}\n${list}next:\n  ${push}\n${publish}`.trimEnd(),
  );
}
