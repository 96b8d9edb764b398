/**
 * Puts the CNI plugin where container runtimes look for it, and takes it away again.
 *
 * The plugin's file is a launcher of two lines, so that an upgrade of tulle upgrades the plugin. What was there
 * before is kept beside it and comes back on removal. Every file appears or vanishes in one step.
 */

import { spawnSync } from "node:child_process";
import { link, mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { ConfigError, ConflictError } from "../../ipam/errors.ts";
import { replaceFile } from "../durable-file.ts";

export interface InstallOptions {
  readonly binDir: string;
  readonly confDir: string;
  /** The plugin's file name, and `type` in the configuration. */
  readonly name: string;
  readonly network: string;
  /** Write the network configuration too. */
  readonly conflist: boolean;
}

const MARK = '// tulle-cni, put here by "tulle cni install"';
const KEPT = ".before-tulle";
const CONFLIST = "10-flannel.conflist";

/** binfmt_script.c cuts the first line at 256 bytes and splits it at the first blank. */
const LONGEST_INTERPRETER = 250;

/** Installs and answers the files written. Throws ConfigError when the plugin does not run here. */
export async function install(options: InstallOptions): Promise<readonly string[]> {
  const bundle = pluginBundle();
  requireRuns(bundle);
  const { binDir, confDir, name } = options;
  await mkdir(binDir, { recursive: true, mode: 0o755 });
  const plugin = join(binDir, name);
  const isOurs = (text: string) => text.includes(MARK);
  await keepForeign(plugin, isOurs);
  await replaceFile(plugin, launcher(bundle), 0o755);
  if (!options.conflist) return [plugin];
  await mkdir(confDir, { recursive: true, mode: 0o755 });
  const conflist = join(confDir, CONFLIST);
  const text = formatConflist(options);
  await keepForeign(conflist, (found) => found === text);
  await replaceFile(conflist, text, 0o644);
  return [plugin, conflist];
}

/** Removes what install wrote and answers the files removed; absence is a success. Throws ConflictError for foreign files. */
export async function uninstall(options: InstallOptions): Promise<readonly string[]> {
  const { binDir, confDir, name } = options;
  const removed: string[] = [];
  // The configuration first: a runtime must not find it without its plugin.
  if (options.conflist) {
    const text = formatConflist(options);
    if (await removeOwn(join(confDir, CONFLIST), (found) => found === text)) {
      removed.push(join(confDir, CONFLIST));
    }
  }
  if (await removeOwn(join(binDir, name), (found) => found.includes(MARK))) removed.push(join(binDir, name));
  return removed;
}

/** The network as flannel ships it: hairpin, default route, published ports. */
export function formatConflist({ name, network }: Pick<InstallOptions, "name" | "network">): string {
  const conflist = {
    name: network,
    cniVersion: "1.0.0",
    cniVersions: ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    plugins: [
      { type: name, delegate: { hairpinMode: true, isDefaultGateway: true } },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
  return `${JSON.stringify(conflist, null, 2)}\n`;
}

/** Beside the program that runs now, in lib/. */
function pluginBundle(): string {
  return fileURLToPath(new URL("tulle-cni.cjs", import.meta.url));
}

function launcher(bundle: string): string {
  const { execPath } = process;
  const isUsable = !/\s/.test(execPath) && execPath.length <= LONGEST_INTERPRETER;
  const interpreter = isUsable ? execPath : "/usr/bin/env node";
  return `#!${interpreter}\n${MARK}\nrequire(${JSON.stringify(bundle)});\n`;
}

function requireRuns(bundle: string): void {
  const { status, stderr } = spawnSync(process.execPath, [bundle], {
    env: { CNI_COMMAND: "VERSION" },
    encoding: "utf8",
  });
  if (status === 0) return;
  throw new ConfigError(`the plugin at ${bundle} does not run: ${stderr.trim() || `exit code ${status}`}`);
}

/** Gives a file of somebody else's a second name; an earlier one of that name stays, it is the original. */
async function keepForeign(file: string, isOurs: (text: string) => boolean): Promise<void> {
  const text = await readFile(file, "latin1").catch(nullIfAbsent);
  if (text === null || isOurs(text)) return;
  await link(file, file + KEPT).catch(ignoreExisting);
}

async function removeOwn(file: string, isOurs: (text: string) => boolean): Promise<boolean> {
  const text = await readFile(file, "latin1").catch(nullIfAbsent);
  if (text === null) return false;
  if (!isOurs(text)) {
    throw new ConflictError(
      `${file} is not as "tulle cni install" wrote it: remove it yourself if nobody needs it`,
    );
  }
  await rename(file + KEPT, file).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
    await rm(file);
  });
  return true;
}

function nullIfAbsent(error: NodeJS.ErrnoException): null {
  if (error.code === "ENOENT") return null;
  throw error;
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== "EEXIST") throw error;
}
