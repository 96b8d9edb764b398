/**
 * Installs the CNI plugin where container runtimes look for it, and uninstalls it.
 *
 * It installs a link to the plugin's executable, or a launcher of three lines for its Node program, so that an upgrade
 * of tulle upgrades the plugin. A file that was there before is kept beside it and restored on removal. Every file
 * appears or disappears in one step.
 */

import { spawnSync } from "node:child_process";
import { existsSync, lstatSync } from "node:fs";
import { link, readlink, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { IDENTIFIER } from "../../cni-plugin/protocol/call.ts";
import { launchLine } from "../../deploy/runtime-variables.mjs";
import { ConfigError, ConflictError, hasCode } from "../../ipam/errors.ts";
import { makeFolder } from "../../ipam/files/folder.ts";
import { readFileStart, readRequiredFile } from "../../ipam/files/read.ts";
import { replaceFile, replaceWithLink } from "../../ipam/files/write.ts";
import { isExecutable } from "../host/own-programs.ts";
import { CNI_VERSIONS, type Conflist, formatConflist, isUnchanged } from "./conflist.ts";

export interface InstallOptions extends Conflist {
  readonly binDir: string;
  readonly confDir: string;
  /** Write the network configuration too. */
  readonly conflist: boolean;
}

/** This program, or in dist/ beside the Node program that runs now. */
const EXECUTABLE = isExecutable
  ? process.execPath
  : fileURLToPath(new URL("../bin/tulle-cni", import.meta.url));
const NODE_PROGRAM = fileURLToPath(new URL("tulle-cni.cjs", import.meta.url));

const MARK = '// tulle-cni, put here by "tulle cni install"';
const KEPT = ".before-tulle";
/** The executable's names as a CNI plugin: as it is installed, and as it is released. */
const OWN_TARGET = /\/tulle(-cni|-linux-\w+)?$/;
const CONFLIST = "10-flannel.conflist";

/** Where Debian and Fedora install plugins (deploy/package/tree.mjs, LAYOUTS). */
const DISTRIBUTION_FOLDERS = ["/usr/lib/cni", "/usr/libexec/cni"] as const;

const ASSUMED_VERSIONS = ["0.3.1", "0.4.0", "1.0.0"];

/** Holds the first lines of a launcher, up to the mark. */
const LAUNCHER_START_BYTES = 512;

/** Installs and returns the files written. Throws ConfigError for a wrong name and when the plugin does not run here. */
export async function install(
  options: InstallOptions,
  warn: (text: string) => void,
): Promise<readonly string[]> {
  const { binDir, confDir, name } = options;
  requireNames(options);
  makeFolder(binDir, 0o755);
  // Before anything is replaced: it may find that the chain cannot work.
  const configuration = options.conflist ? formatConflist(options, commonVersions(options, warn)) : null;
  const plugin = join(binDir, name);
  await keepForeign(plugin, isOwnPlugin);
  await putPlugin(plugin, warn);
  if (configuration === null) return [plugin];
  makeFolder(confDir, 0o755);
  const conflist = join(confDir, CONFLIST);
  await keepForeign(conflist, isOwnConflist);
  await replaceFile(conflist, configuration, { mode: 0o644 });
  return [plugin, conflist];
}

export interface Uninstalled {
  readonly file: string;
  /** The file from before the installation, which has its name back; null when there was none. */
  readonly restoredFrom: string | null;
}

/**
 * Removes what install wrote, restores what it replaced, and returns what it did; a file that is already deleted is
 * restored as well, and absence is a success. Throws ConflictError for foreign files.
 */
export async function uninstall(options: InstallOptions): Promise<readonly Uninstalled[]> {
  const plugin = join(options.binDir, options.name);
  const conflist = join(options.confDir, CONFLIST);
  // The configuration first: a runtime must not find it without its plugin.
  return [
    ...(options.conflist ? await withdraw(conflist, isOwnConflist) : []),
    ...(await withdraw(plugin, isOwnPlugin)),
  ];
}

/** Runtimes and plugins would reject these names later. */
function requireNames({ network, name, chained }: Conflist): void {
  for (const [option, text] of [
    ["network", network],
    ["name", name],
    ...chained.map((type) => ["chained", type]),
  ]) {
    if (text === undefined || IDENTIFIER.test(text)) continue;
    throw new ConfigError(
      `--${option}: "${text}" is wrong; take letters, digits, and . _ - behind the first`,
    );
  }
}

/** The executable where it was built and this machine can run it, else the Node program. */
async function putPlugin(plugin: string, warn: (text: string) => void): Promise<void> {
  if (isCompiled(EXECUTABLE)) {
    const complaint = complaintOf(EXECUTABLE, []);
    if (complaint === null) return replaceWithLink(plugin, EXECUTABLE);
    if (isExecutable) throw new ConfigError(`${EXECUTABLE} does not run as the plugin: ${complaint}`);
    warn(`${EXECUTABLE} does not run here (${complaint}): the plugin will run on Node, which takes longer`);
  }
  const complaint = complaintOf(process.execPath, [NODE_PROGRAM]);
  if (complaint !== null) throw new ConfigError(`the plugin at ${NODE_PROGRAM} does not run: ${complaint}`);
  await replaceFile(plugin, launcher(NODE_PROGRAM), { mode: 0o755 });
}

/** Without Bun the build makes a script of the same name, whose interpreter a runtime's PATH may lack. */
function isCompiled(file: string): boolean {
  return readFileStart(file, 4).toString("latin1") === "\x7fELF";
}

/** Why a program does not serve VERSION; null when it does. */
function complaintOf(program: string, args: readonly string[]): string | null {
  const env = { CNI_COMMAND: "VERSION" };
  const { status, signal, stderr, error } = spawnSync(program, args, { env, encoding: "utf8" });
  if (status === 0) return null;
  return error?.message ?? (stderr.trim() || (signal ?? `exit code ${status}`));
}

/**
 * The versions that every chained plugin supports. Of one that is not installed yet those are assumed that all releases
 * since 2021 have.
 */
function commonVersions(
  { binDir, chained }: InstallOptions,
  warn: (text: string) => void,
): readonly string[] {
  let common: readonly string[] = CNI_VERSIONS;
  for (const type of chained) {
    const plugin = findChained(type, binDir, warn);
    const supported = (plugin === null ? null : versionsOf(plugin)) ?? ASSUMED_VERSIONS;
    const rest = common.filter((version) => supported.includes(version));
    if (rest.length === 0)
      throw new ConfigError(`${plugin} supports ${supported.join(", ")} only; install a newer one`);
    if (rest.at(-1) !== common.at(-1) && plugin !== null) {
      warn(
        `${plugin} lacks ${common.at(-1)} of the CNI specification: the configuration goes up to ${rest.at(-1)}`,
      );
    }
    common = rest;
  }
  return common;
}

/** A chained plugin's file; null when it is not installed. Warns unless a runtime finds it beside ours. */
function findChained(type: string, binDir: string, warn: (text: string) => void): string | null {
  const beside = join(binDir, type);
  if (existsSync(beside)) return beside;
  const folder = DISTRIBUTION_FOLDERS.find((each) => existsSync(join(each, type)));
  if (folder === undefined) {
    warn(
      `${beside} is missing, and no container starts without it: install it, or leave it out by --chained`,
    );
    return null;
  }
  warn(
    `${type} is in ${folder} and not in ${binDir}: a runtime that searches one folder finds one of the two plugins; ` +
      `if it searches ${folder}, run "tulle cni install --bin-dir ${folder}"`,
  );
  return join(folder, type);
}

/** What a plugin answers to VERSION; null when it is absent or does not answer. */
function versionsOf(plugin: string): readonly string[] | null {
  const { stdout } = spawnSync(plugin, { env: { CNI_COMMAND: "VERSION" }, input: "{}", encoding: "utf8" });
  const list = /"supportedVersions":\[([^\]]*)\]/.exec(stdout ?? "")?.[1];
  return list?.split(",").map((text) => text.trim().replaceAll('"', "")) ?? null;
}

/** Run by this Node, which a runtime's PATH may lack; sh reads its path in single quotes. */
function launcher(program: string): string {
  const node = `'${process.execPath.replaceAll("'", "'\\''")}'`;
  return `#!/bin/sh\n":" ${MARK}\n${launchLine(node)}\nrequire(${JSON.stringify(program)});\n`;
}

/** A link to the executable of this or of an earlier tulle, or a launcher. */
async function isOwnPlugin(file: string): Promise<boolean> {
  const target = await readlink(file).catch(notALink);
  if (target !== null) return target === EXECUTABLE || OWN_TARGET.test(target);
  return readFileStart(file, LAUNCHER_START_BYTES).toString("latin1").includes(MARK);
}

async function isOwnConflist(file: string): Promise<boolean> {
  return isUnchanged(readRequiredFile(file));
}

/** Gives a foreign file a second name; an earlier backup stays, it is the original. */
async function keepForeign(file: string, isOwn: (file: string) => Promise<boolean>): Promise<void> {
  if ((await isOwn(file).catch(nullIfAbsent)) !== false) return;
  await link(file, file + KEPT).catch(ignoreExisting);
}

async function withdraw(
  file: string,
  isOwn: (file: string) => Promise<boolean>,
): Promise<readonly Uninstalled[]> {
  const found = await isOwn(file).catch(nullIfAbsent);
  const backup = file + KEPT;
  if (found === false && isSameFile(file, backup)) {
    // An installation that failed behind keepForeign(), as on a full disk.
    await rm(backup);
    return [];
  }
  if (found === false) {
    const hint = existsSync(backup) ? ` ${backup} is the file from before the installation.` : "";
    throw new ConflictError(
      `${file} is not as "tulle cni install" wrote it: remove it if nothing needs it.${hint}`,
    );
  }
  if (await restore(backup, file)) return [{ file, restoredFrom: backup }];
  if (found === null) return [];
  await rm(file);
  return [{ file, restoredFrom: null }];
}

function isSameFile(left: string, right: string): boolean {
  const [one, two] = [left, right].map((file) => lstatSync(file, { throwIfNoEntry: false }));
  return one !== undefined && one.dev === two?.dev && one.ino === two.ino;
}

/** Renames a backup to the file's name; false when there is none. */
async function restore(backup: string, file: string): Promise<boolean> {
  try {
    await rename(backup, file);
    return true;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return false;
    throw error;
  }
}

function nullIfAbsent(error: NodeJS.ErrnoException): null {
  if (error.code === "ENOENT") return null;
  throw error;
}

function notALink(error: NodeJS.ErrnoException): null {
  if (error.code === "EINVAL") return null;
  throw error;
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== "EEXIST") throw error;
}
