/** Runs the firewall tools, found in the system's own folders whatever the environment says. */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { CNI_CODES, CniError } from "../errors.ts";

const SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** True when the tool can be started. */
export function isInstalled(tool: string): boolean {
  return SYSTEM_PATH.split(":").some((dir) => existsSync(path.join(dir, tool)));
}

/** Feeds lines to a tool. Throws CniError 100 with its words. */
export function feed(tool: string, args: readonly string[], lines: readonly string[]): void {
  const { error, status, stderr } = run(tool, args, `${lines.join("\n")}\n`);
  if (status === 0) return;
  const reason = error === undefined ? stderr.trim().split("\n")[0] : error.message;
  throw new CniError(
    CNI_CODES.attachFailed,
    `${tool} refused: ${reason}`,
    "ipMasq needs nftables or iptables, macspoofchk needs nftables: install them, or leave both options out",
  );
}

/** Runs a tool whose refusal only means that there was nothing to do, or nothing to find: false. */
export function attempt(tool: string, args: readonly string[]): boolean {
  return run(tool, args, "").status === 0;
}

/** What a tool that only looks writes; null when it finds nothing. */
export function ask(tool: string, args: readonly string[]): string | null {
  const { status, stdout } = run(tool, args, "");
  return status === 0 ? stdout : null;
}

function run(tool: string, args: readonly string[], input: string) {
  return spawnSync(tool, args, { input, encoding: "utf8", env: { PATH: SYSTEM_PATH, LC_ALL: "C" } });
}
