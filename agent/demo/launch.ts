/**
 * Runs a command line of this program again where it may build a lab and is not disturbed.
 *
 * Root may make namespaces; anybody else gets that right in a user namespace, where one is root over what one makes
 * there and over nothing else (user_namespaces(7)). A session of its own keeps Ctrl-C away from the tools that
 * build and remove, so that none of them ends halfway.
 */

import { spawn, spawnSync } from "node:child_process";
import { accessSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { TulleError } from "../../ipam/errors.ts";

/** The programs that a lab is built with, and the Debian packages they come in. */
const TOOLS = { ip: "iproute2", ping: "iputils-ping" } as const;

const USER_NAMESPACE = ["--user", "--map-root-user", "--net", "--mount"];

/** As a shell answers for a program that Ctrl-C ended (128 + SIGINT). */
export const EXIT_INTERRUPTED = 130;

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

/**
 * Runs Node with these arguments until it ends by itself, and answers its exit code. It gets SIGTERM, alone and
 * once, when `signal` fires or when this process dies. Throws TULLE_PREREQUISITE where the kernel does not allow it.
 */
export function launch(args: readonly string[], signal: AbortSignal): Promise<number> {
  const endWithUs = ["setpriv", "--pdeathsig", "TERM"]; // prctl(2), PR_SET_PDEATHSIG
  const [program = "", ...rest] = [...entering(), ...endWithUs, process.execPath, ...args];
  const child = spawn(program, rest, { stdio: "inherit", detached: true });
  signal.addEventListener("abort", () => child.kill("SIGTERM"), { once: true });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? EXIT_INTERRUPTED));
  });
}

/** What to put in front of a command so that it has the right to make namespaces. */
function entering(): readonly string[] {
  if (process.geteuid?.() === 0 && mayUnshare(["--net", "--mount"])) return [];
  if (!mayUnshare(USER_NAMESPACE)) {
    throw new TulleError(
      "TULLE_PREREQUISITE",
      "this needs root: run it with sudo, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0)",
    );
  }
  return ["unshare", ...USER_NAMESPACE, "sh", "-c", 'mount -t tmpfs tmpfs /run && exec "$0" "$@"'];
}

/** What to run in another terminal to get where this process is; null when that is where everybody is. */
export function enteringCommand(): string | null {
  const everybody = /^\s*0\s+0\s+4294967295\s*$/; // user_namespaces(7), "User and group ID mappings"
  if (everybody.test(readFileSync("/proc/self/uid_map", "utf8"))) return null;
  return `nsenter --target ${process.pid} --user --preserve-credentials --mount --net`;
}

function mayUnshare(flags: readonly string[]): boolean {
  return spawnSync("unshare", [...flags, "true"], { stdio: "ignore" }).status === 0;
}

function isFile(folder: string, name: string): boolean {
  try {
    accessSync(join(folder, name));
    return true;
  } catch {
    return false; // not there, which is what was asked
  }
}
