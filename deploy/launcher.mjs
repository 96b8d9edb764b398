/**
 * The launcher of a program on Node: a script for sh and for Node at once (see launchLine), so that
 * `node dist/node/NAME` works as well. ES5 on purpose: an old Node must be able to read far enough to say that it is too
 * old.
 */

import { launchLine } from "./runtime-variables.mjs";

/**
 * Its text. `engine`: the oldest Node, as package.json has it (">=20.19"). `shellLines`: commands that sh runs before
 * Node, one a line.
 */
export function launcherText(name, engine, shellLines = []) {
  const [major, minor] = engine.replace(">=", "").split(".");
  return `#!/bin/sh
${shellLines.map((line) => `":" //; ${line}\n`).join("")}${launchLine("node")}
var version = process.versions.node.split(".");
if (+version[0] < ${major} || (+version[0] === ${major} && +version[1] < ${minor})) {
  process.stderr.write("${name} needs Node ${major}.${minor} or newer; this is Node " + process.versions.node + "\\n");
  process.exit(1);
}
// Deprecation warnings about packages are of no use in an administrator's log.
process.noDeprecation = true;
require("../lib/load.cjs").installLoader();
require("../lib/${name}.cjs");
`;
}
