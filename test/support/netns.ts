/**
 * Fresh network namespaces for tests of the real kernel.
 *
 * A namespace goes when the test disposes it, or at the latest when the test process exits. Nothing here touches
 * the machine's own namespace.
 */

import { spawnSync } from "node:child_process";
import process from "node:process";
import { describe } from "vitest";
import { createNamespace, type Namespace, runTool } from "../../agent/demo/namespace.ts";
import { disposeAtExit } from "./dispose-at-exit.ts";

/** A namespace with the tools of iproute2, which tests compare the product with. */
export interface TestNetns extends Namespace {
  /** Runs `ip` commands inside, one per line, without the leading `ip`; throws at the first that fails. */
  ip(...lines: readonly string[]): void;
  /** Runs `ip -j …` inside and returns the parsed answer. */
  ipJson(args: readonly string[]): readonly Record<string, unknown>[];
}

/** Where a server runs: a namespace, and an address in it to listen at. */
export interface Place {
  readonly netns: TestNetns;
  readonly host: string;
}

let counter = 0;

/** Creates an empty namespace with its loopback up (needs root). `label` is part of its name. */
export function createNetns(label: string): TestNetns {
  counter += 1;
  return disposeAtExit(createTestNamespace(`tulle-${label}-${process.pid}-${counter}`));
}

/** As createNamespace, with iproute2. */
export function createTestNamespace(name: string): TestNetns {
  const namespace = createNamespace(name);
  return {
    ...namespace,
    ip: (...lines) => void runTool("ip", ["-n", name, "-batch", "-"], lines.join("\n")),
    ipJson: (args) => JSON.parse(namespace.exec("ip", ["-j", ...args]) || "[]"),
  };
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
