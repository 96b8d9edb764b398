/** `describe` for suites that need a kernel which this machine may not have: they run in the guest (`npm run test:guest`). */

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { describe } from "vitest";

/** Runs the suite in the guest; skipped elsewhere, visibly: verify starts the guest itself. */
export function describeInGuest(name: string, body: () => void): void {
  if (process.env.TULLE_GUEST) describe(name, body);
  else describe.skip(`${name} (runs in the guest)`, body);
}

/** Loads a kernel module; throws with modprobe's words when the guest's kernel lacks it. */
export function loadModule(name: string): void {
  const { status, stderr } = spawnSync("/bin/busybox", ["modprobe", name], { encoding: "utf8" });
  if (status !== 0) throw new Error(`modprobe ${name}: ${stderr}`);
}

/** Unloads a kernel module; false while it is in use. */
export function unloadModule(name: string): boolean {
  const isLoaded = () =>
    readFileSync("/proc/modules", "utf8")
      .split("\n")
      .some((line) => line.startsWith(`${name} `));
  if (isLoaded()) spawnSync("/bin/busybox", ["rmmod", name]);
  return !isLoaded();
}
