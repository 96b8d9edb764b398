/** What tulled.service, and the daemon that runs, are given: flags and variables. Reads files only. */

import { basename } from "node:path";
import { hasCode } from "../../ipam/errors.ts";
import { readForeignFile } from "../../ipam/files/read.ts";
import { expandWord } from "../docker/command-line.ts";
import { parseEnvironmentFile } from "../docker/unit-file.ts";
import type { GivenSettings } from "../terminal/command.ts";

/** The variable of the unit's ExecStart= that holds the flags. */
const OPTIONS = "TULLED_OPTIONS";

/** Of the unit's EnvironmentFile=; null when there is none. Throws what the file system throws. */
export function serviceSettings(path: string): GivenSettings | null {
  const text = readForeignFile(path);
  if (text === null) return null;
  const variables = parseEnvironmentFile(text);
  return { args: expandWord(`$${OPTIONS}`, variables), environment: Object.fromEntries(variables) };
}

/** Of a running tulled; null when this is none, as for a number of another container's process. */
export function processSettings(pid: number): GivenSettings | null {
  const words = readList(`/proc/${pid}/cmdline`);
  const start = words.findIndex((word) => basename(word) === "tulled");
  if (start < 0) return null;
  const variables = readList(`/proc/${pid}/environ`).map((entry) => entry.split(/=(.*)/s, 2));
  return { args: words.slice(start + 1), environment: Object.fromEntries(variables) };
}

/** Words that end with NUL (proc_pid_cmdline(5)); empty when the process is gone, or not ours to look into. */
function readList(path: string): readonly string[] {
  try {
    return (readForeignFile(path) ?? "").split("\0").slice(0, -1);
  } catch (error) {
    if (hasCode(error, "EACCES") || hasCode(error, "ESRCH")) return [];
    throw error;
  }
}
