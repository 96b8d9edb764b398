/**
 * Fresh network namespaces for tests of the real kernel.
 *
 * A namespace goes when the test disposes it, or at the latest when the test process exits. Nothing here touches
 * the machine's own namespace.
 */

import { execFileSync, spawnSync } from "node:child_process";
import process from "node:process";
import { describe } from "vitest";

export interface TestNetns {
  /** `tulle-<label>-<pid>-<n>`, as `ip netns` knows it. */
  readonly name: string;
  /** The file that pins the namespace: pass it to setns, nsenter or `ip link set … netns`. */
  readonly path: string;
  /** Runs a program inside and returns its standard output; throws with its standard error when it fails. */
  exec(command: string, args: readonly string[]): string;
  /** Runs `ip -j …` inside and returns the parsed answer. */
  ipJson(args: readonly string[]): readonly Record<string, unknown>[];
  /** Removes the namespace; a second call does nothing. */
  dispose(): void;
}

let counter = 0;
const undisposed = new Set<TestNetns>();

process.on("exit", disposeAll);
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    disposeAll();
    process.kill(process.pid, signal);
  });
}

/** Creates an empty namespace with its loopback up (needs root). `label` is part of its name. */
export function createNetns(label: string): TestNetns {
  counter += 1;
  const name = `tulle-${label}-${process.pid}-${counter}`;
  const path = `/run/netns/${name}`;
  run("ip", ["netns", "add", name]);
  const netns: TestNetns = {
    name,
    path,
    exec: (command, args) => run("nsenter", [`--net=${path}`, command, ...args]),
    ipJson: (args) => JSON.parse(netns.exec("ip", ["-j", ...args]) || "[]"),
    dispose: () => {
      if (undisposed.delete(netns)) run("ip", ["netns", "delete", name]);
    },
  };
  undisposed.add(netns);
  netns.exec("ip", ["link", "set", "lo", "up"]);
  return netns;
}

/** True when this process may create network namespaces. */
export function canCreateNetns(): boolean {
  return process.getuid?.() === 0 && spawnSync("unshare", ["--net", "true"]).status === 0;
}

/**
 * `describe` for suites that need root and network namespaces: without them the suite is skipped, visibly, or
 * fails where the environment variable CI is set.
 */
export function describeAsRoot(name: string, body: () => void): void {
  if (canCreateNetns()) describe(name, body);
  else if (process.env.CI) throw new Error(`"${name}" needs root and network namespaces; run it as root`);
  else describe.skip(`${name} (needs root)`, body);
}

function disposeAll(): void {
  for (const netns of [...undisposed]) {
    try {
      netns.dispose();
    } catch (error) {
      console.error(`namespace ${netns.name} is left behind:`, error);
    }
  }
}

function run(command: string, args: readonly string[]): string {
  return execFileSync(command, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 1 << 28,
  });
}
