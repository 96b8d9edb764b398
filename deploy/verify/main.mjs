/**
 * `npm run verify`: everything that must hold before a change lands, from a fresh clone to one line of result.
 *
 * Cheap checks come first. Suites that need root run in lanes side by side: each test works in namespaces
 * of its own. What needs a kernel that this machine may lack runs in a guest under QEMU. Without root or QEMU those
 * suites are skipped, visibly; with CI set a test that cannot run is a failure.
 *
 * Files that failed run once more when all suites are through and the machine is quiet. What passes then is named as
 * unsteady: a test that depends on the machine's load, which is to be mended but says nothing about the change.
 */

import process from "node:process";
import { fileURLToPath } from "node:url";
import { exitOnSignals, inTemporaryFolder } from "../cleanup.mjs";
import { hasCompiler, runtimeFor } from "../package/bun-runtime.mjs";
import { installMissingPackages } from "./debian-packages.mjs";
import { otherNodes } from "./node-versions.mjs";
import { FORM_NODE, runCheck, runGuestSuite, runSuite, sum, THIS_NODE } from "./steps.mjs";

const FAST = ["unit", "codec", "property"];
/** What is run on other versions of Node: the fast suites, and TLS with a real etcd. */
const ON_OTHER_NODES = {
  projects: [...FAST, "conformance"],
  files: [...FAST.map((name) => `test/${name}/`), "test/conformance/store/etcd-access"],
};
/** What is run on Bun, the executable's runtime: what touches the runtime. */
const ON_BUN = {
  projects: [...FAST, "conformance", "kernel"],
  files: [
    ...["test/codec/", "test/property/", "test/kernel/netlink/", "test/kernel/backends/echo-socket"],
    ...["test/unit/ipam/", "test/unit/backends/", "test/unit/agent/report/", "test/unit/agent/page-server/"],
    ...["test/conformance/store/etcd-access", "test/conformance/store/consul-"],
  ],
};
/** End-to-end tests that run once more with the programs on Node. */
const E2E_ON_NODE = ["walkthrough", "restart", "heal", "cli", "udp"].map(
  (name) => `test/e2e/${name}.test.ts`,
);
/**
 * Failures in more files than this have a cause that another run does not take away. Within a file one failure may bring
 * the others with it: many are steps of one story.
 */
const MOST_UNSTEADY_FILES = 3;
const ENGINE_TREE = fileURLToPath(new URL("debian-tree.mjs", import.meta.url));
/** The folder of vitest's reports. */
let reports;
const suite = (name) => part(name, null);
const part = (name, shard) => () => runSuite([name], reports, THIS_NODE, { shard });
/**
 * Side by side, each about as long as the others: tests wait for half of their time. `nodes` are the other versions of
 * Node.
 */
const lanes = (nodes) => [
  [suite("kernel"), suite("fault")],
  [part("e2e", "1/2"), () => runSuite(["e2e"], reports, FORM_NODE, { files: E2E_ON_NODE })],
  [part("e2e", "2/2"), suite("packages"), suite("conformance"), ...nodes.slice(2).map(runOnNode)],
  [prepareEngines, suite("engines")],
  [() => runGuestSuite(reports), runOnBun, ...nodes.slice(0, 2).map(runOnNode)],
];

exitOnSignals();
installMissingPackages();
await inTemporaryFolder("tulle-verify-", async (folder) => {
  reports = folder;
  const tallies = [...(await runChecks()), ...(await takeSecondLook(await runSuites()))];
  for (const { title, failures = [] } of tallies)
    for (const failure of failures) console.log(`FAILED on ${title}: ${failure}`);
  const total = sum(tallies);
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  process.exitCode = total.failed === 0 ? 0 : 1;
});

async function runChecks() {
  const tallies = [];
  for (const script of ["build", "typecheck", "lint", "deps"]) {
    tallies.push(await runCheck(script, "npm", ["run", "--silent", script]));
  }
  return tallies;
}

async function runSuites() {
  // Before anything else, since without them the whole run is void.
  const nodes = otherNodesOrNone();
  const tallies = [await runSuite(FAST, reports)];
  const ends = await Promise.all(lanes(nodes).map(runLane));
  return [...tallies, ...ends.flat()];
}

async function runLane(steps) {
  const tallies = [];
  for (const run of steps) tallies.push(await run());
  return tallies;
}

function runOnNode(node) {
  const { projects, files } = ON_OTHER_NODES;
  return () => runSuite(projects, reports, node, { files });
}

/** Where npm has not installed Bun, that run is skipped, visibly; with CI set that is a failure. */
async function runOnBun() {
  if (!hasCompiler() && !process.env.CI) {
    console.log("the suites on Bun are skipped: npm has not installed it");
    return { passed: 0, failed: 0, skipped: 1 };
  }
  const bun = { name: "Bun", path: runtimeFor(process.arch).file };
  return await runSuite(ON_BUN.projects, reports, bun, { files: ON_BUN.files });
}

/** Replaces the failures of each suite that has them in a few files by those of a second run of their files. */
async function takeSecondLook(tallies) {
  const settled = [];
  for (const tally of tallies) {
    const { failedFiles = [] } = tally;
    const isWorthIt = failedFiles.length > 0 && failedFiles.length <= MOST_UNSTEADY_FILES;
    settled.push(isWorthIt ? await rerun(tally) : tally);
  }
  return settled;
}

async function rerun({ again, failedFiles, failures, title, passed, failed, skipped }) {
  console.log(`${title}: ${failed} failed; their files run once more`);
  for (const failure of failures) console.log(`  ${failure}`);
  const second = await again(failedFiles);
  const unsteady = Math.max(0, failed - second.failed);
  if (unsteady > 0) console.log(`UNSTEADY: ${unsteady} of ${title} passed at the second attempt only`);
  return { title, passed: passed + unsteady, failed: second.failed, skipped, failures: second.failures };
}

/** Where they cannot be had, those runs are skipped, visibly; with CI set that is a failure. */
function otherNodesOrNone() {
  try {
    return otherNodes();
  } catch (error) {
    if (process.env.CI) throw error;
    console.log(`other versions of Node are skipped: ${error.message}`);
    return [];
  }
}

/** Makes the system of the newest engines, or finds it; without it their tests are skipped. */
async function prepareEngines() {
  const tally = await runCheck("newest engines", process.execPath, [ENGINE_TREE]);
  return process.env.CI ? tally : { ...tally, failed: 0, skipped: tally.failed };
}
