/** Which backends this host can run, as far as can be told without loading a module. */

import { existsSync } from "node:fs";
import { BACKEND_NEEDS } from "../../backends/registry.ts";
import { TulleError } from "../../ipam/errors.ts";
import { readForeignFile } from "../../ipam/files/read.ts";

/** More than the largest list of modules has. */
const MOST_BYTES = 16 * 1024 * 1024;

/** Types, in the order of the registry. `release` is the kernel's. */
export function backendAbilities(release: string): readonly string[] {
  const modules = moduleLists(release);
  const isThere = (subject: string): boolean =>
    existsSync(`/sys/module/${subject}`) || modules.includes(`/${subject}.ko`);
  return BACKEND_NEEDS.flatMap(({ type, kernelNeeds }) =>
    kernelNeeds.every((need) => ("file" in need ? existsSync(need.file) : isThere(need.subject)))
      ? [type]
      : [],
  );
}

/** What is built in and what can be loaded (modules.dep(5)); empty where the files are not there, as in a container. */
function moduleLists(release: string): string {
  const read = (name: string): string => {
    try {
      return readForeignFile(`/lib/modules/${release}/${name}`, MOST_BYTES) ?? "";
    } catch (error) {
      // Not a file of this kind: nothing is known, as where it is absent.
      if (!(error instanceof TulleError)) throw error;
      return "";
    }
  };
  return ["modules.builtin", "modules.dep"].map(read).join("\n");
}
