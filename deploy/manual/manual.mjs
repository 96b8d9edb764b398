/** Writes manual pages and completions below a folder that has the shape of /usr/share. */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { writeBundles } from "../bundles.mjs";
import { inTemporaryFolder } from "../cleanup.mjs";
import { completions } from "./completions.mjs";
import { manualPages } from "./manual-pages.mjs";

const SOURCES = { programs: "agent/commands/reference.ts", netavark: "cni-plugin/netavark/usage.ts" };

/** Of every program that has them: where the files belong, and their texts. */
export async function writeManual(root, share) {
  const reference = await readReference(root);
  const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
  const files = [
    ...[...manualPages({ ...reference, version })].map(([name, text]) => [
      `man/man${name.at(-1)}/${name}`,
      text,
    ]),
    ...completions(reference),
  ];
  for (const [name, text] of files) {
    const file = path.join(share, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
}

/** Beside the packages that it imports, which are found by the folder of the file. */
function readReference(root) {
  return inTemporaryFolder(path.join(root, "node_modules/.tulle-reference-"), async (outdir) => {
    await writeBundles({
      absWorkingDir: root,
      entryPoints: SOURCES,
      outdir,
      outExtension: { ".js": ".mjs" },
      bundle: true,
      platform: "node",
      format: "esm",
      packages: "external",
      logLevel: "warning",
    });
    const load = (name) => import(pathToFileURL(path.join(outdir, `${name}.mjs`)).href);
    const { commandReference, flagReference } = await load("programs");
    return { commands: await commandReference(), flags: flagReference(), netavark: await load("netavark") };
  });
}
