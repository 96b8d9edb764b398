/**
 * A git checkout with this project's files, to cut releases from: a repository of its own with one commit, real git, and
 * no settings of the person who runs the tests.
 */

import { type ChildProcess, type SpawnSyncReturns, spawn, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import process from "node:process";
import { disposeAtExit } from "./dispose-at-exit.ts";

const ROOT = join(import.meta.dirname, "../..");
/** Not part of the project, or too large to copy. */
const LEFT_OUT = new Set([".git", ".lab", "coverage", "dist", "node_modules", "release"]);

const PROGRAM = "deploy/release/main.mjs";
const AUTHOR = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];

/** Prints what `tulled --version` prints, without a build of a few seconds; npm sets the variable. */
export const QUICK_BUILD =
  "mkdir -p dist/bin && printf '#!/bin/sh\\necho tulled %s\\n' $npm_package_version > dist/bin/tulled && chmod +x dist/bin/tulled";

export interface ReleaseCheckout {
  readonly folder: string;
  git(...args: readonly string[]): string;
  npm(...args: readonly string[]): SpawnSyncReturns<string>;
  /** What `npm run release -- …args` runs. */
  release(...args: readonly string[]): SpawnSyncReturns<string>;
  /** The same, not waited for, without its output. */
  startRelease(...args: readonly string[]): ChildProcess;
  read(name: string): string;
  write(name: string, text: string): void;
  /** Replaces scripts of package.json; not committed. */
  setScripts(scripts: Readonly<Record<string, string>>): void;
  /** Commits everything. */
  commit(): void;
  dispose(): void;
}

/**
 * A repository with one commit: this project as it is in the folder, and an entry in its changelog for the next release.
 * Tests clone it, which is faster than copying.
 */
export function createTemplate(): ReleaseCheckout {
  const folder = mkdtempSync(join(tmpdir(), "tulle-release-"));
  const isPart = (path: string): boolean => !LEFT_OUT.has(relative(ROOT, path).split("/")[0] ?? "");
  cpSync(ROOT, folder, { recursive: true, filter: isPart });
  const template = checkoutIn(folder);
  template.git("init", "--quiet", "--initial-branch=main");
  template.write("CHANGELOG.md", template.read("CHANGELOG.md").replace(/^## Unreleased$/m, "$&\n\n- News."));
  template.commit();
  return template;
}

/** A clone, with the packages of this checkout. */
export function cloneTemplate(template: ReleaseCheckout): ReleaseCheckout {
  const folder = mkdtempSync(join(tmpdir(), "tulle-release-"));
  const checkout = checkoutIn(folder);
  checkout.git("clone", "--quiet", template.folder, folder);
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  checkout.git("config", "user.name", "Test");
  checkout.git("config", "user.email", "test@example.org");
  return checkout;
}

function checkoutIn(folder: string): ReleaseCheckout {
  const environment = { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" };
  const run = (command: string, args: readonly string[]): SpawnSyncReturns<string> =>
    spawnSync(command, args, { cwd: folder, env: environment, encoding: "utf8" });
  const checkout: ReleaseCheckout = {
    folder,
    git: (...args) => {
      const { status, stdout, stderr } = run("git", [...AUTHOR, ...args]);
      if (status !== 0) throw new Error(`git ${args.join(" ")}: ${stderr}`);
      return stdout.trimEnd();
    },
    npm: (...args) => run("npm", args),
    release: (...args) => run(process.execPath, [PROGRAM, ...args]),
    startRelease: (...args) =>
      spawn(process.execPath, [PROGRAM, ...args], { cwd: folder, env: environment, stdio: "ignore" }),
    read: (name) => readFileSync(join(folder, name), "utf8"),
    write: (name, text) => writeFileSync(join(folder, name), text),
    setScripts: (scripts) => {
      const manifest = JSON.parse(checkout.read("package.json")) as { readonly scripts: object };
      const changed = { ...manifest, scripts: { ...manifest.scripts, ...scripts } };
      checkout.write("package.json", `${JSON.stringify(changed, null, 2)}\n`);
    },
    commit: () => {
      checkout.git("add", "--all");
      checkout.git("commit", "--quiet", "--message=test");
    },
    dispose: () => rmSync(folder, { recursive: true, force: true }),
  };
  return disposeAtExit(checkout);
}
