/**
 * Runs a command line of this program again with the right to build a lab.
 *
 * Root may make namespaces; any other user may in a user namespace, with privileges over what is made there and over
 * nothing else (user_namespaces(7)). A session of its own keeps Ctrl-C from the tools that build and remove, so that
 * none of them ends halfway.
 */

import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { errorMessage, TulleError } from "../../ipam/errors.ts";

const USER_NAMESPACE = ["--user", "--map-root-user", "--net", "--mount"];

/** What a shell returns for a program that Ctrl-C ended (128 + SIGINT). */
export const EXIT_INTERRUPTED = 130;

/**
 * Runs a command line to its end and returns its exit code. The program alone gets SIGTERM, once, when `signal` fires or
 * this process dies. Throws TULLE_PREREQUISITE without util-linux, and where the kernel does not
 * allow it.
 */
export function launch(command: readonly string[], signal: AbortSignal): Promise<number> {
  const endWithUs = ["setpriv", "--pdeathsig", "TERM"]; // prctl(2), PR_SET_PDEATHSIG
  const [program = "", ...rest] = [...entering(), ...endWithUs, ...command];
  const child = spawn(program, rest, { stdio: "inherit", detached: true });
  signal.addEventListener("abort", () => child.kill("SIGTERM"), { once: true });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? EXIT_INTERRUPTED));
  });
}

/** The command that gives another one the right to make namespaces; empty where this process has it. */
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

/** Command that enters the namespaces of this process from another terminal; null when it is in the first ones. */
export function enteringCommand(): string | null {
  const wholeRange = /^\s*0\s+0\s+4294967295\s*$/; // user_namespaces(7), "User and group ID mappings"
  if (wholeRange.test(readFileSync("/proc/self/uid_map", "utf8"))) return null;
  return `nsenter --target ${process.pid} --user --preserve-credentials --mount --net`;
}

function mayUnshare(flags: readonly string[]): boolean {
  const { error, status } = spawnSync("unshare", [...flags, "sh", "-c", ":"], { stdio: "ignore" });
  if (error === undefined) return status === 0;
  throw new TulleError(
    "TULLE_PREREQUISITE",
    `unshare of util-linux cannot be run (${errorMessage(error)}): apt-get install util-linux`,
    { cause: error },
  );
}
