/**
 * `npm run verify`: everything that must hold before a change lands, from a fresh clone to one line of result.
 *
 * Cheap checks come first. Suites run side by side, as many as there are lanes: tests wait for half of their time, and
 * those that need root work in namespaces of their own. What needs a kernel that this machine may lack runs in a guest
 * under QEMU. Without root or QEMU those suites are skipped, visibly; with CI set a test that cannot run is a failure.
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
const LANES = 5;

/** The folder of vitest's reports. */
let reports;
let enginesMade = null;
const check = (script) => () => runCheck(script, "npm", ["run", "--silent", script]);
const suite =
  (name, shard = null) =>
  () =>
    runSuite([name], reports, THIS_NODE, { shard });
const fastSuites = () => runSuite(FAST, reports);
const e2eOnNode = () => runSuite(["e2e"], reports, FORM_NODE, { files: E2E_ON_NODE });
/**
 * What a lane takes when it is free: steps that follow each other. Cheap checks come first, then what takes long, so that
 * all lanes end at about the same time; what needs much of the processors is between what waits. `nodes` are the other
 * versions of Node.
 */
const jobs = (nodes) => [
  [check("typecheck"), check("lint"), check("deps"), fastSuites],
  [prepareEngines, () => runEngines("1/2")],
  [suite("kernel")],
  [suite("e2e", "1/4")],
  [suite("e2e", "2/4")],
  [() => runGuestSuite(reports)],
  // One after the other: each has as many processes as the machine can bear.
  nodes.map((node) => runOnNode(node)),
  [suite("fault")],
  [() => runEngines("2/2")],
  [suite("e2e", "3/4")],
  [suite("e2e", "4/4")],
  [suite("packages")],
  [runOnBun],
  [e2eOnNode],
  [suite("conformance")],
];

exitOnSignals();
installMissingPackages();
await inTemporaryFolder("tulle-verify-", async (folder) => {
  reports = folder;
  const tallies = [await check("build")(), ...(await takeSecondLook(await runJobs()))];
  for (const { title, failures = [] } of tallies)
    for (const failure of failures) console.log(`FAILED on ${title}: ${failure}`);
  const total = sum(tallies);
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  process.exitCode = total.failed === 0 ? 0 : 1;
});

async function runJobs() {
  // The lanes take from one iterator.
  const remaining = jobs(otherNodesOrNone()).values();
  const lanes = Array.from({ length: LANES }, () => runLane(remaining));
  return (await Promise.all(lanes)).flat();
}

async function runLane(remaining) {
  const tallies = [];
  for (const steps of remaining) for (const run of steps) tallies.push(await run());
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

/** The system of the newest engines is made once, or found; without it their tests are skipped. */
function prepareEngines() {
  enginesMade ??= runCheck("newest engines", process.execPath, [ENGINE_TREE]).then((tally) =>
    process.env.CI ? tally : { ...tally, failed: 0, skipped: tally.failed },
  );
  return enginesMade;
}

async function runEngines(shard) {
  await prepareEngines();
  return await suite("engines", shard)();
}
