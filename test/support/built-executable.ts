/** Builds the executable once for all tests of packages (vitest's globalSetup), and removes it after them. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { TestProject } from "vitest/node";
import { buildExecutable } from "../../deploy/package/executable.mjs";
import type { BuiltExecutable } from "../../deploy/package/formats.mjs";

declare module "vitest" {
  export interface ProvidedContext {
    /** For writePackages. */
    built: BuiltExecutable;
  }
}

const folder = mkdtempSync(join(tmpdir(), "tulle-built-"));

export async function setup(project: TestProject): Promise<void> {
  const executable = join(folder, "tulle");
  const arch = process.arch === "arm64" ? "arm64" : "x64";
  const { inputs, packages } = await buildExecutable({ arch, outFile: executable });
  project.provide("built", { arch, executable, inputs, packages });
}

export function teardown(): void {
  rmSync(folder, { recursive: true, force: true });
}
