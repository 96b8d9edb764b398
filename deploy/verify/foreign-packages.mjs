/**
 * Fetches a Debian package of another suite into a folder of the checkout, for tests against programs that this
 * machine's own suite lacks or has in another version only.
 *
 * Installs nothing and leaves the system's package lists alone. What is fetched stays in .lab/ for the next run.
 */

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const CACHE = fileURLToPath(new URL("../../.lab/packages", import.meta.url));
export const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** Folder that holds the package's files (`usr/bin/…`). Throws with apt's words when it cannot be had. */
export function fetchPackage(suite, name) {
  const folder = path.join(CACHE, suite, name);
  fetchInto(new Map([[name, folder]]), suite);
  return folder;
}

/**
 * The same for several packages, also of another architecture (as dpkg names it). Each folder also has the package's
 * DEBIAN/control.
 */
export function fetchPackages(suite, names, architecture) {
  const folders = new Map(names.map((name) => [name, path.join(CACHE, `${suite}-${architecture}`, name)]));
  fetchInto(folders, suite, architecture);
  return [...folders.values()];
}

/** `folders`: by the package's name; those that exist stay. */
function fetchInto(folders, suite, architecture = null) {
  const missing = [...folders].filter(([, folder]) => !existsSync(folder));
  if (missing.length === 0) return;
  const parent = path.dirname(missing[0][1]);
  mkdirSync(parent, { recursive: true });
  const work = mkdtempSync(path.join(parent, `${missing[0][0]}-`));
  try {
    const archives = download(
      suite,
      missing.map(([name]) => name),
      work,
      architecture,
    );
    for (const [name, folder] of missing) {
      const archive = archives.find((file) => file.startsWith(`${name}_`));
      if (archive === undefined) throw new Error(`apt-get downloaded no file for ${name} of ${suite}`);
      const files = path.join(work, name);
      run("dpkg-deb", [architecture === null ? "-x" : "-R", archive, files], work);
      moveInto(files, folder);
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Two runs may fetch at once: the second uses the files of the first. */
export function moveInto(files, folder) {
  try {
    renameSync(files, folder);
  } catch (error) {
    if (!existsSync(folder)) throw error;
  }
}

/** apt with lists, cache and sources of its own, see apt.conf(5). Returns the names of the archives in `work`. */
function download(suite, names, work, architecture) {
  const sources = path.join(work, "sources.list");
  const options = {
    "Dir::Etc::sourcelist": sources,
    "Dir::Etc::sourceparts": "/dev/null",
    "Dir::Etc::preferencesparts": "/dev/null",
    "Dir::State::lists": path.join(work, "lists"),
    "Dir::Cache": path.join(work, "cache"),
    "Acquire::Languages": "none",
    // A mirror may keep a suite as it was on a certain day; its signature is checked nevertheless.
    "Acquire::Check-Valid-Until": "false",
    "Acquire::Retries": "2",
    "Acquire::http::Timeout": "30",
    "APT::Sandbox::User": "root",
    ...(architecture === null
      ? {}
      : { "APT::Architecture": architecture, "APT::Architectures": architecture }),
  };
  const args = ["-qq", ...Object.entries(options).map(([key, value]) => `-o${key}=${value}`)];
  for (const folder of ["lists/partial", "cache/archives/partial"]) {
    mkdirSync(path.join(work, folder), { recursive: true });
  }
  const signedBy = existsSync(KEYRING) ? `[signed-by=${KEYRING}] ` : "";
  writeFileSync(sources, `deb ${signedBy}${mirror()} ${suite} main\n`);
  run("apt-get", [...args, "update"], work);
  // With the suite, or apt would prefer a newer version that is installed here.
  run("apt-get", [...args, "download", ...names.map((name) => `${name}/${suite}`)], work);
  return readdirSync(work).filter((file) => file.endsWith(".deb"));
}

/** The mirror that the system's own sources name. */
export function mirror() {
  const format = ["--format", "$(COMPONENT) $(RELEASE) $(REPO_URI)", "Created-By: Packages"];
  const targets = run("apt-get", ["indextargets", ...format], "/").split("\n");
  const target = targets.find((line) => /^main [a-z]+ /.test(line));
  if (!target) throw new Error("the system's package sources name no Debian mirror");
  return target.split(" ")[2];
}

/** Runs a program and returns its standard output; throws with its words. */
export function run(command, args, cwd) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (status === 0) return stdout;
  const words = args.filter((arg) => !arg.startsWith("-")).join(" ");
  throw new Error(`${command} ${words}: ${error?.message ?? stdout + stderr}`.trimEnd());
}
