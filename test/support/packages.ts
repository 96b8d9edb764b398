/** Packages of this checkout for tests: hardly compressed, so that they are written in a few seconds. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { inject } from "vitest";
import { type PackageFormat, writePackages } from "../../deploy/package/formats.mjs";
import { type Disposable, disposeAtExit } from "./dispose-at-exit.ts";

export class PackageFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "tulle-packages-"));

  constructor() {
    disposeAtExit(this);
  }

  /** Writes packages of this version, "0.1.0", and returns their names in the folder. */
  async write(version: string, ...formats: readonly PackageFormat[]): Promise<readonly string[]> {
    const built = { ...inject("built"), version, isFast: true };
    return (await writePackages(built, this.path, formats)).map((file) => basename(file));
  }

  dispose(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
