/** Packages of this checkout for tests: hardly compressed, and each one written once for all tests. */

import { existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { inject } from "vitest";
import { type PackageFormat, writePackages } from "../../deploy/package/formats.mjs";
import { type Disposable, disposeAtExit } from "./dispose-at-exit.ts";

export class PackageFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), "tulle-packages-"));

  constructor() {
    disposeAtExit(this);
  }

  /** Puts packages of this version, "0.1.0", into the folder and returns their names. */
  async add(version: string, ...formats: readonly PackageFormat[]): Promise<readonly string[]> {
    const names: string[] = [];
    for (const format of formats) {
      const source = await written(version, format);
      for (const name of readdirSync(source).sort()) {
        linkSync(join(source, name), join(this.path, name));
        names.push(name);
      }
    }
    return names;
  }

  dispose(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** The folder with the packages of a version in a format. It goes with the executable. */
async function written(version: string, format: PackageFormat): Promise<string> {
  const built = inject("built");
  const folder = join(dirname(built.executable), `${format}-${version}`);
  if (existsSync(folder)) return folder;
  const fresh = `${folder}-fresh`;
  mkdirSync(fresh);
  await writePackages({ ...built, version, isFast: true }, fresh, [format]);
  renameSync(fresh, folder);
  return folder;
}
