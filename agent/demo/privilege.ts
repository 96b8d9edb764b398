/**
 * Gets the privilege to make network namespaces: as root it is there; anybody else gets it in a user namespace,
 * where one is root over what one makes there and over nothing else (user_namespaces(7)).
 */

import { spawn, spawnSync } from "node:child_process";
import { accessSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { TulleError } from "../../ipam/errors.ts";

/** The programs that a lab is built with, and the Debian packages they come in. */
const TOOLS = { ip: "iproute2", ping: "iputils-ping" } as const;

const USER_NAMESPACE = ["--user", "--map-root-user", "--net", "--mount"];

/** Throws TULLE_PREREQUISITE, with the packages to install, when a tool is missing. */
export function requireTools(searchPath: string): void {
  const folders = searchPath.split(":");
  const missing = Object.entries(TOOLS).filter(([tool]) => !folders.some((folder) => isFile(folder, tool)));
  if (missing.length === 0) return;
  const [tools, packages] = [missing.map(([tool]) => tool), missing.map(([, name]) => name)];
  throw new TulleError(
    "TULLE_PREREQUISITE",
    `${tools.join(" and ")} not found: apt-get install ${packages.join(" ")}`,
  );
}

/** True when this process may make network namespaces and mounts. */
export function isPrivileged(): boolean {
  return process.geteuid?.() === 0 && succeeds(["--net", "--mount", "true"]);
}

/**
 * Runs this very command line again, in a user namespace of its own with a /run of its own; answers its exit code.
 * Throws TULLE_PREREQUISITE where the kernel does not allow it.
 */
export function runAgainPrivileged(signal: AbortSignal): Promise<number> {
  if (!succeeds([...USER_NAMESPACE, "true"])) {
    throw new TulleError(
      "TULLE_PREREQUISITE",
      "this needs root: run it with sudo, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)",
    );
  }
  const ownRun = 'mount -t tmpfs tmpfs /run && exec "$0" "$@"';
  const again = [process.execPath, ...process.argv.slice(1)];
  const child = spawn("unshare", [...USER_NAMESPACE, "sh", "-c", ownRun, ...again], { stdio: "inherit" });
  signal.addEventListener("abort", () => child.kill("SIGTERM"), { once: true });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}

/** What to run in another terminal to get where this process is; null when that is where everybody is. */
export function enteringCommand(): string | null {
  const everybody = /^\s*0\s+0\s+4294967295\s*$/; // user_namespaces(7), "User and group ID mappings"
  if (everybody.test(readFileSync("/proc/self/uid_map", "utf8"))) return null;
  return `nsenter --target ${process.pid} --user --preserve-credentials --mount --net`;
}

function succeeds(args: readonly string[]): boolean {
  return spawnSync("unshare", args, { stdio: "ignore" }).status === 0;
}

function isFile(folder: string, name: string): boolean {
  try {
    accessSync(join(folder, name));
    return true;
  } catch {
    return false; // not there, which is what was asked
  }
}
