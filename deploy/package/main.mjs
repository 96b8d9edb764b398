/**
 * `npm run package`: writes what is released to release/, with SHA256SUMS.
 *
 *     --arch x64|arm64|all    default: this machine's processor
 *     --format deb,npm,…      default: all; "executable" alone is in every one
 *     --fast                  compress little
 */

import { readdirSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { ROOT } from "../bundles.mjs";
import { exitOnSignals } from "../cleanup.mjs";
import { ARCHITECTURES } from "./bun-runtime.mjs";
import { CHECKSUMS, writeChecksums } from "./checksums.mjs";
import { buildExecutable } from "./executable.mjs";
import { FORMATS, writePackages } from "./formats.mjs";
import { requireTools } from "./run-tool.mjs";

const RELEASE = path.join(ROOT, "release");
const EXECUTABLE = "executable";

exitOnSignals();

try {
  await main();
} catch (error) {
  console.error(`package: ${error.message}`);
  process.exitCode = 1;
}

async function main() {
  const { architectures, formats, isFast } = requested();
  requireTools(toolsFor(formats, isFast));
  for (const arch of architectures) {
    const executable = path.join(RELEASE, `tulle-linux-${arch}`);
    const built = await buildExecutable({ arch, outFile: executable });
    const files = await writePackages({ ...built, arch, executable, isFast }, RELEASE, formats);
    for (const file of [executable, ...files]) console.log(path.relative(ROOT, file));
  }
  await writeChecksums(
    RELEASE,
    readdirSync(RELEASE).filter((name) => name !== CHECKSUMS),
  );
}

function requested() {
  const { values } = parseArgs({
    options: {
      arch: { type: "string", default: process.arch },
      format: { type: "string", default: FORMATS.join(",") },
      fast: { type: "boolean", default: false },
    },
  });
  const formats = choose("format", values.format.split(","), [EXECUTABLE, ...FORMATS]);
  return {
    architectures: values.arch === "all" ? ARCHITECTURES : choose("arch", [values.arch], ARCHITECTURES),
    formats: formats.filter((format) => format !== EXECUTABLE),
    isFast: values.fast,
  };
}

function toolsFor(formats, isFast) {
  const own = { deb: ["dpkg-deb"], rpm: ["rpmbuild", "rpm"] };
  const isPlain = (format) => own[format] === undefined;
  const gzip = formats.some(isPlain) ? [isFast ? "gzip" : "libdeflate-gzip"] : [];
  return [...formats.flatMap((format) => own[format] ?? []), ...gzip];
}

function choose(option, words, known) {
  const unknown = words.find((word) => !known.includes(word));
  if (unknown !== undefined)
    throw new Error(
      `--${option}: "${unknown}" is unknown; take ${known.join(", ")}${option === "arch" ? " or all" : ""}`,
    );
  return words;
}
