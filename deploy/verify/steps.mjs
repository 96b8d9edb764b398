/** Runs one step of the verification as a child process and tells how it went. It decides no order. */

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { withCleanup } from "../cleanup.mjs";

const VITEST = fileURLToPath(new URL("../../node_modules/vitest/vitest.mjs", import.meta.url));
const GUEST = fileURLToPath(new URL("guest/main.mjs", import.meta.url));

/**
 * A command that passes or fails as a whole. Its output is shown only when it fails.
 * Answers the tally of a step: a failed check counts as one failure.
 */
export async function runCheck(name, command, args) {
  const { status, output, seconds } = await run(command, args);
  report(name, status === 0 ? "ok" : "FAILED", seconds);
  if (status !== 0) console.log(output);
  return { passed: 0, failed: status === 0 ? 0 : 1, skipped: 0 };
}

/** The Node that runs this. */
export const THIS_NODE = { name: `Node ${process.versions.node}`, path: process.execPath };

/** The same for tests of built programs, all of which run on Node then (test/support/programs.ts). */
export const FORM_NODE = {
  ...THIS_NODE,
  name: "programs on Node",
  environment: { TULLE_FORM: "node" },
};

/**
 * One vitest project, or several that may share the machine, on this Node or on another one; of their files those whose
 * paths contain one of `files`, or all, or of all the part that `shard` names, as in "1/2". Returns the tally of its tests.
 */
export async function runSuite(projects, reportFolder, node = THIS_NODE, { files = [], shard = null } = {}) {
  const part = shard === null ? "" : ` (${shard})`;
  const title = `${projects.join(", ")}${part} on ${node.name}`;
  const file = path.join(reportFolder, `${title.replaceAll(/\W+/g, "-")}.json`);
  const args = [VITEST, "run", "--passWithNoTests", ...projects.flatMap((name) => ["--project", name])];
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
  const chosen = shard === null ? files : [`--shard=${shard}`];
  const { status, output, seconds } = await run(
    node.path,
    [...args, ...reporters, ...chosen],
    node.environment,
  );
  const again = (failedFiles) => runSuite(projects, reportFolder, node, { files: failedFiles });
  return conclude(title, { status, output, seconds }, file, again);
}

/** Prints how a suite went, and answers its tally with the files that failed; `again` runs some of its files once more. */
function conclude(title, { status, output, seconds }, reportFile, again) {
  const tally = readTally(reportFile);
  const failedFiles = readFailedFiles(reportFile);
  // A suite may fail outside its tests: an unhandled rejection, a worker that died.
  if (status !== 0 && tally.failed === 0) tally.failed = 1;
  report(title, `${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped`, seconds);
  if (tally.failed > 0) console.log(output);
  return { ...tally, title, failedFiles, failures: readFailures(reportFile), again };
}

/**
 * The vitest project of the guest, in the guest. Where the guest cannot be had the suite is skipped, visibly; with CI set
 * that is a failure. Of its files those whose paths contain one of `files`, or all.
 */
export async function runGuestSuite(reportFolder, files = []) {
  const obstacle = guestObstacle();
  if (obstacle !== null && !process.env.CI) {
    report("guest", `skipped: ${obstacle}`, 0);
    return { passed: 0, failed: 0, skipped: 1 };
  }
  const share = mkdtempSync(path.join(reportFolder, "guest-"));
  const reporters = ["--reporter=default", "--reporter=json", "--outputFile.json=/share/report.json"];
  const vitest = [process.execPath, VITEST, "run", "--project", "guest", ...reporters, ...files];
  const { status, output, seconds } = await run(process.execPath, [GUEST, "--share", share, "--", ...vitest]);
  const again = (failedFiles) => runGuestSuite(reportFolder, failedFiles);
  return conclude("guest", { status, output, seconds }, path.join(share, "report.json"), again);
}

/** Why no guest can run here, in a few words; null when one can. */
function guestObstacle() {
  if (process.arch !== "x64") return `its kernel is for x64, this is ${process.arch}`;
  const found = spawnSync("qemu-system-x86_64", ["--version"]);
  return found.error === undefined ? null : "qemu-system-x86_64 is missing";
}

/** Adds tallies up. */
export function sum(tallies) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const tally of tallies) {
    for (const key of Object.keys(total)) total[key] += tally[key];
  }
  return total;
}

/** Counts tests. A file may fail without a failed test, while it is loaded or in a hook: that is one failure. */
function readTally(file) {
  const tally = { passed: 0, failed: 0, skipped: 0 };
  const report = readJson(file);
  for (const { status, assertionResults } of report?.testResults ?? []) {
    const outcomes = assertionResults.map((result) => result.status);
    if (status === "failed" && !outcomes.includes("failed")) tally.failed += 1;
    for (const outcome of outcomes) {
      tally[outcome === "passed" || outcome === "failed" ? outcome : "skipped"] += 1;
    }
  }
  return tally;
}

/** Each failed test by its file and name. */
function readFailures(file) {
  return (readJson(file)?.testResults ?? []).flatMap(({ name, assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === "failed")
      .map(({ fullName }) => `${path.relative(process.cwd(), name)}: ${fullName}`),
  );
}

/** The files with a failed test, or that failed as a whole. */
function readFailedFiles(file) {
  return (readJson(file)?.testResults ?? [])
    .filter(({ status }) => status === "failed")
    .map(({ name }) => path.relative(process.cwd(), name));
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

function report(name, result, seconds) {
  console.log(`${name.padEnd(48)} ${result}  (${seconds.toFixed(1)} s)`);
}

async function run(command, args, environment = {}) {
  const startedAt = performance.now();
  const env = { ...process.env, ...environment };
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env });
  const chunks = [];
  child.stdout.on("data", (chunk) => chunks.push(chunk));
  child.stderr.on("data", (chunk) => chunks.push(chunk));
  const [status] = await withCleanup(
    () => child.kill(),
    () => once(child, "close"),
  );
  const output = Buffer.concat(chunks).toString();
  return { status, output, seconds: (performance.now() - startedAt) / 1000 };
}
