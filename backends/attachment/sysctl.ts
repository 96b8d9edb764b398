/** Settings under /proc/sys/net, which belong to the network namespace of the thread that opens them. */

import { readFileSync, writeFileSync } from "node:fs";
import { ConflictError, errorMessage, hasCode } from "../../ipam/errors.ts";

/** A setting that is absent, or that a read-only or guarded /proc/sys does not let us change. */
const TOLERATED = ["ENOENT", "EROFS", "EACCES", "EPERM"];

/** `sysctl -n net/NAME`; null when there is no such setting. */
export function readSysctl(name: string): string | null {
  try {
    return readFileSync(`/proc/sys/net/${name}`, "utf8").trim();
  } catch (error) {
    if (hasCode(error, "ENOENT")) return null;
    throw error;
  }
}

/** Sets what traffic depends on, unless it has the value. Throws ConflictError when it can be neither found nor set. */
export function requireSysctl(name: string, value: string): void {
  const present = readSysctl(name);
  if (present === value) return;
  try {
    writeFileSync(`/proc/sys/net/${name}`, value);
  } catch (cause) {
    throw new ConflictError(
      `net/${name} is ${present ?? "missing"} and cannot be set to ${value}: ${errorMessage(cause)}`,
      {
        cause,
        details: { remedy: `set it on the host, for example with "sysctl -w net/${name}=${value}"` },
      },
    );
  }
}

/** Sets what improves things, where it is possible. */
export function preferSysctl(name: string, value: string): void {
  try {
    if (readSysctl(name) !== value) writeFileSync(`/proc/sys/net/${name}`, value);
  } catch (error) {
    if (!TOLERATED.some((code) => hasCode(error, code))) throw error;
  }
}
