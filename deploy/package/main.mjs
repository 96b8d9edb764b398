/**
 * `npm run package [-- --arch x64|arm64|all]`: writes what is released to release/, for this machine's processor unless
 * another is named.
 */

import path from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { ROOT } from "../bundles.mjs";
import { ARCHITECTURES } from "./bun-runtime.mjs";
import { buildExecutable } from "./executable.mjs";

try {
  for (const arch of requestedArchitectures()) {
    const outFile = path.join(ROOT, `release/tulle-linux-${arch}`);
    await buildExecutable({ arch, outFile });
    console.log(path.relative(ROOT, outFile));
  }
} catch (error) {
  console.error(`package: ${error.message}`);
  process.exitCode = 1;
}

function requestedArchitectures() {
  const { values } = parseArgs({ options: { arch: { type: "string", default: process.arch } } });
  if (values.arch === "all") return ARCHITECTURES;
  if (ARCHITECTURES.includes(values.arch)) return [values.arch];
  throw new Error(`--arch: "${values.arch}" is unknown; take ${ARCHITECTURES.join(", ")} or all`);
}
