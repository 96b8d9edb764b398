/**
 * The Node versions that the fast suites run on besides the one that runs this: npm packages that hold a Node for one
 * platform, kept in .lab/ for the next run. Nothing is installed anywhere else.
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The supported versions, and the next one. */
const MAJORS = [22, 24, 26];
const FOLDER = fileURLToPath(new URL("../../.lab/nodes", import.meta.url));

/** Name (`Node 22.23.3`) and path of each executable, except for the running version. Throws npm's message on failure. */
export function otherNodes() {
  const missing = MAJORS.filter((major) => !existsSync(executable(major)));
  if (missing.length > 0) install(missing);
  const nodes = MAJORS.map((major) => ({
    name: `Node ${versionOf(executable(major))}`,
    path: executable(major),
  }));
  return nodes.filter(({ name }) => name !== `Node ${process.versions.node}`);
}

/** Throws when the executable does not run, as on another C library. */
function versionOf(file) {
  const { status, stdout, stderr, error } = spawnSync(file, ["--version"], { encoding: "utf8" });
  if (status !== 0) throw new Error(`${file} --version: ${error?.message ?? stderr}`.trimEnd());
  return stdout.trim().replace(/^v/, "");
}

function executable(major) {
  return path.join(FOLDER, "node_modules", `node-${major}`, "bin/node");
}

function install(majors) {
  mkdirSync(FOLDER, { recursive: true });
  const packages = majors.map((major) => `node-${major}@npm:node-linux-${process.arch}@${major}`);
  const options = ["--prefix", FOLDER, "--no-audit", "--no-fund", "--no-package-lock"];
  const { status, stdout, stderr } = spawnSync("npm", ["install", ...options, ...packages], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`npm install ${packages.join(" ")}: ${stdout}${stderr}`.trimEnd());
}
