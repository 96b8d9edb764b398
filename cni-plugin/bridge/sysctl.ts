/** Settings under /proc/sys/net, which belong to the network namespace of the thread that opens them. */

import { readFileSync, writeFileSync } from "node:fs";
import { hasCode } from "../../ipam/files.ts";

/** `sysctl -w NAME=VALUE`, only when it differs: /proc/sys may be read-only. Throws what the file system throws. */
export function ensureSysctl(name: string, value: string): void {
  const file = `/proc/sys/net/${name}`;
  if (readFileSync(file, "utf8").trim() !== value) writeFileSync(file, value);
}

/** The same for settings that not every kernel has. */
export function ensureSysctlIfPresent(name: string, value: string): void {
  try {
    ensureSysctl(name, value);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
  }
}
