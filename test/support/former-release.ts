/**
 * Former releases, built from the history of this repository, and their programs on hosts of a lab.
 *
 * deploy/release/releases.json names their commits. They are built with the packages of this checkout, which takes a few
 * seconds.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { describe } from "vitest";
import { Daemon } from "../../agent/demo/daemon.ts";
import { disposeAtExit } from "./dispose-at-exit.ts";
import { describeWithEtcd, type Host } from "./hosts.ts";

const ROOT = join(import.meta.dirname, "../..");

/** Upgrades start from these: the last release, and the one before for those who skip one. */
const MOST_RELEASES = 2;

export interface Release {
  readonly version: string;
  readonly commit: string;
}

export interface BuiltRelease {
  /** Folder with its tulled, tulle and tulle-cni. */
  readonly programs: string;
  dispose(): void;
}

/** The last releases, the newest first. */
export const FORMER_RELEASES: readonly Release[] = readReleases();

function readReleases(): readonly Release[] {
  const text = readFileSync(join(ROOT, "deploy/release/releases.json"), "utf8");
  const releases = JSON.parse(text) as Record<string, { readonly commit: string }>;
  return Object.entries(releases)
    .map(([version, { commit }]) => ({ version, commit }))
    .slice(-MOST_RELEASES)
    .reverse();
}

function git(...args: readonly string[]): { readonly status: number | null; readonly stderr: string } {
  // A checkout may belong to another user than root, who runs these tests (git-config(1), safe.directory).
  return spawnSync("git", ["-c", `safe.directory=${ROOT}`, "-C", ROOT, ...args], { encoding: "utf8" });
}

/** Why a release cannot be built here; null when it can. */
function missingHistory({ version, commit }: Release): string | null {
  const { status } = git("cat-file", "-e", `${commit}^{commit}`);
  return status === 0 ? null : `this checkout has no commit ${commit} of ${version}: clone the whole history`;
}

/** As describeWithEtcd; skipped too, visibly, where the history lacks the release, unless CI is set. */
export function describeWithRelease(release: Release, name: string, body: () => void): void {
  const missing = missingHistory(release);
  if (missing === null) describeWithEtcd(name, body);
  else if (process.env.CI) throw new Error(`"${name}": ${missing}`);
  else describe.skip(`${name} (${missing})`, body);
}

/** Builds a release in a folder of its own, which goes at the latest when this process exits. */
export function buildRelease({ commit }: Release): BuiltRelease {
  const folder = mkdtempSync(join(tmpdir(), "tulle-former-"));
  const built = disposeAtExit({
    programs: join(folder, "tree/dist/bin"),
    dispose: () => rmSync(folder, { recursive: true, force: true }),
  });
  const [archive, tree] = [join(folder, "release.tar"), join(folder, "tree")];
  const { status, stderr } = git("archive", `--output=${archive}`, commit);
  if (status !== 0) throw new Error(`git archive ${commit}: ${stderr}`);
  mkdirSync(tree);
  execFileSync("tar", ["--extract", `--file=${archive}`, `--directory=${tree}`]);
  symlinkSync(join(ROOT, "node_modules"), join(tree, "node_modules"));
  execFileSync(process.execPath, ["deploy/build.mjs"], { cwd: tree, stdio: ["ignore", "ignore", "inherit"] });
  return built;
}

/** The daemon of another build on a host, in the place of the host's own: the same /run, state and log. */
export function daemonOf(programs: string, host: Host): Daemon {
  return new Daemon({
    command: host.enter(
      ...["setpriv", "--pdeathsig", "KILL"],
      ...[join(programs, "tulled"), `--state-dir=${host.stateDirectory}`],
    ),
    runDirectory: host.runDirectory,
    logFile: host.daemon.logFile,
  });
}
