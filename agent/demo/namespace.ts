/**
 * Network namespaces as `ip netns` keeps them, driven by the tools that an administrator would use.
 *
 * Nothing here touches the namespace that the process itself lives in.
 */

import { execFileSync } from "node:child_process";

export interface Namespace {
  /** As `ip netns` knows it. */
  readonly name: string;
  /** The file that pins the namespace: pass it to setns, nsenter or `ip link set … netns`. */
  readonly path: string;
  /** Runs a program inside and returns its standard output; throws with its standard error when it fails. */
  exec(command: string, args: readonly string[]): string;
  /** Runs `ip` commands inside, one per line, without the leading `ip`; throws at the first that fails. */
  ip(...lines: readonly string[]): void;
  /** Runs `ip -j …` inside and returns the parsed answer. */
  ipJson(args: readonly string[]): readonly Record<string, unknown>[];
  /** Ends every program inside and removes the namespace; a second call does nothing. */
  dispose(): void;
}

/** Creates an empty namespace with its loopback up. Needs the privilege to administer networks. */
export function createNamespace(name: string): Namespace {
  const path = `/run/netns/${name}`;
  let isThere = true;
  runTool("ip", ["netns", "add", name]);
  const namespace: Namespace = {
    name,
    path,
    exec: (command, args) => runTool("nsenter", [`--net=${path}`, command, ...args]),
    ip: (...lines) => void runTool("ip", ["-n", name, "-batch", "-"], lines.join("\n")),
    ipJson: (args) => JSON.parse(namespace.exec("ip", ["-j", ...args]) || "[]"),
    dispose: () => {
      if (!isThere) return;
      isThere = false;
      endPrograms(name);
      runTool("ip", ["netns", "delete", name]);
    },
  };
  namespace.ip("link set lo up");
  return namespace;
}

/** A program inside would keep the namespace alive, though nobody could find it any more. */
function endPrograms(name: string): void {
  const pids = runTool("ip", ["netns", "pids", name]).split("\n").filter(Boolean);
  for (const pid of pids) {
    try {
      process.kill(Number(pid), "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}

/** Runs a program to its end and returns its standard output; throws with its standard error when it fails. */
export function runTool(command: string, args: readonly string[], input = ""): string {
  return execFileSync(command, args, { input, encoding: "utf8", stdio: "pipe", maxBuffer: 1 << 28 });
}
